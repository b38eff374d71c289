"""What routes and handlers need from outside; adapters implement it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from archive_contracts.keys import KeyBook, KeyEvent
from archive_gateway.domain.roster import Member, Offer
from archive_gateway.domain.usage import Account, Counts


@dataclass(frozen=True, slots=True)
class Outage:
    """A server behind the gateway is away: which, in words, and for how many seconds already."""

    what: str
    seconds: float


class Outages(Protocol):
    """Watches the servers that a request in flight depends on."""

    def known(self) -> Outage | None:
        """Return the outage that was found a moment ago, if there was one."""
        ...

    async def look(self) -> Outage | None:
        """Return whether a server is away now; asks at most twice a second, however many want to know."""
        ...


class Engines(Protocol):
    """The engines as their heartbeats tell."""

    def members(self) -> Sequence[Member]:
        """Return the living workers."""
        ...

    def offers(self) -> dict[str, Offer]:
        """Return the models that can be asked for, by id."""
        ...


class Keys(Protocol):
    """The keys of this installation."""

    def book(self) -> KeyBook | None:
        """Return them, or None before they were read."""
        ...

    async def append(self, event: KeyEvent, *, tenant: str, correlation: str) -> None:
        """Write an event down for every gateway. Raises BusUnavailable."""
        ...


class Usage(Protocol):
    """What was used."""

    async def read(self, tenant: str, days: Sequence[str]) -> Mapping[Account, Counts]:
        """Return what a tenant used on some days (ISO 8601). Raises BusUnavailable."""
        ...


class Cancels(Protocol):
    """Tells the other services to stop."""

    def soon(self, target: str, *, reason: str) -> None:
        """Cancel a request, a job or a run, without waiting for it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of an upload, in the blob store. ``size`` is in bytes."""

    blob: str
    sha256: str
    size: int
    filename: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Form:
    """An upload: its files in their order, its other fields by name."""

    files: list[StoredFile] = field(default_factory=list[StoredFile])
    fields: dict[str, str] = field(default_factory=dict[str, str])


class Uploads(Protocol):
    """Takes uploads in without ever holding one in memory."""

    async def receive(self, content_type: str, body: AsyncIterator[bytes], *, limit: int) -> Form:
        """Store the files of a multipart body of at most ``limit`` bytes.

        Raises BadRequest, WrongMedia, TooLarge or StoreFull.
        """
        ...
