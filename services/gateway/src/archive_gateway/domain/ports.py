"""What routes and handlers need from outside; adapters implement it."""

from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from archive_contracts.keys import KeyBook, KeyEvent
from archive_gateway.domain.history import Sample
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

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what follows when a client has left, without waiting for it; a drain does not wait for it either."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patron:
    """Whose account a resumable stream is on, for the gateway that sees its end."""

    key: str
    model: str
    prompt_chars: int


class TokenTexts(Protocol):
    """Reads arrays of tokens."""

    async def texts(self, arrays: Sequence[Sequence[int]]) -> tuple[str, ...]:
        """Return the text of each array. Raises BadRequest for a number that is no token."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """How busy the machine is; a MB is 2**20 bytes."""

    cpu_percent: float
    memory_percent: float
    memory_used_mb: float
    memory_total_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The stream of completed exchanges: its length and its newest entry."""

    length: int
    last_id: str


class Figures(Protocol):
    """What the originals' monitors ask for."""

    def machine(self) -> Machine:
        """Return how busy the machine has been since the last look."""
        ...

    async def activity(self) -> Activity | None:
        """Return what memory listens to, None when the server does not say."""
        ...


class History(Protocol):
    """The figures of the last day, of all gateways."""

    def now(self) -> Sample:
        """Return the sample in the making of this gateway."""
        ...

    async def read(self, hours: int) -> Sequence[Sample]:
        """Return the samples of the last hours, oldest first. Raises BusUnavailable."""
        ...

    async def clear(self) -> None:
        """Forget them all. Raises BusUnavailable."""
        ...


class Attendance(Protocol):
    """Which resumable streams somebody listens to, at whichever gateway. Never raises: it is a courtesy."""

    async def note(self, stream: str, patron: Patron) -> None:
        """Say that somebody listens now, and for some seconds on."""
        ...

    async def patron(self, stream: str) -> Patron | None:
        """Return whose it is, for as long as it may be resumed."""
        ...

    async def attended(self, stream: str) -> bool:
        """Whether somebody listens, or did so a moment ago."""
        ...

    async def settled(self, stream: str) -> bool:
        """Whether the stream was booked already; from now on it was. What nobody can tell was not."""
        ...


class Jobs(Protocol):
    """Which jobs there are."""

    def page(self, tenant: str, *, limit: int, offset: int) -> tuple[Sequence[str], int]:
        """Return the ids of a part of a tenant's jobs, newest first, and how many there are in all."""
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
