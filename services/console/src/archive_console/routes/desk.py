"""What every route works with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from archive_blobs import Blobs
from archive_bus import Bus, Operator
from archive_console.domain.answers import Answer
from archive_console.domain.conversations import Turn
from archive_console.domain.door import Locks, Signer
from archive_console.domain.engines import Server
from archive_console.domain.jobs import JobRecord, Told
from archive_console.domain.ports import Change, Conversations, Downloads, Pages
from archive_console.domain.rates import Rates
from archive_contracts.documents import DocumentInfo
from archive_contracts.engine import EngineRegistered, EngineSpec

Check = Callable[[], Awaitable[str | None]]


class Answers(Protocol):
    """Asks on behalf of people, and keeps what comes."""

    async def save(self, tenant: str, change: Change) -> None:
        """Make a change durable. Raises BusError."""
        ...

    async def ask(
        self, tenant: str, conversation: str, turn: Turn, *, before: Sequence[Turn], supersedes: str = ""
    ) -> None:
        """Keep a question and send it on its way. Raises BusError."""
        ...

    async def stop(self, tenant: str, turn_id: str) -> None:
        """Ask whoever works on an answer to stop. Raises BusError."""
        ...

    def watch(self, tenant: str, turn: Turn) -> AsyncIterator[Answer]:
        """Yield an answer as it grows. Raises NoSuchLog."""
        ...


class Watching(Protocol):
    """Looks once for all pages that watch the same."""

    def watch(
        self, key: Hashable, look: Callable[[], Awaitable[str]], *, every_s: float, ping_s: float
    ) -> AsyncIterator[str | None]:
        """Yield news, and None when there was none for a while."""
        ...


class Engines(Protocol):
    """The engines as their heartbeats tell."""

    def workers(self) -> list[EngineRegistered]:
        """Return the living workers."""
        ...

    def models(self) -> list[str]:
        """Return the models that can chat."""
        ...

    def rates(self) -> Rates:
        """Return how fast the living workers write, and how often they fail."""
        ...

    async def registered(self) -> list[EngineSpec]:
        """Return the engines that were added by hand. Raises BusError."""
        ...


class Shelves(Protocol):
    """What libraries held when somebody last looked."""

    def seen(self, tenant: str) -> Mapping[str, str] | None:
        """Return names of the latest documents by their ids without a wait; None where nobody has looked yet."""
        ...

    def names(self, tenant: str, ids: Iterable[str]) -> Mapping[str, str]:
        """Return the names of those documents that were seen, by their ids."""
        ...

    def note(self, tenant: str, found: Iterable[DocumentInfo], *, latest: bool) -> None:
        """Remember what was listed; ``latest``: it is what stands first in the catalogue."""
        ...


class Finding(Protocol):
    """Looks for model servers of other programs."""

    async def found(self) -> Sequence[Server]:
        """Return those that answer on this machine."""
        ...


class Jobs(Protocol):
    """The jobs of all tenants, for operators."""

    async def records(self) -> list[JobRecord]:
        """Return every job whose journal is kept, the newest first. Raises BusError."""
        ...

    async def journal(self, job_id: str) -> list[Told]:
        """Return what was told about one job, oldest first; nothing when there is none. Raises BusError."""
        ...


class Renderer(Protocol):
    """Renders templates by name."""

    def render(self, name: str, values: Mapping[str, object]) -> str:
        """Return a page or a part of one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How people come in. Without any key everybody on this machine is let in, as ``tenant``."""

    locks: Locks
    tenant: str
    signer: Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The console's parts, as routes see them. ``max_upload`` is in bytes."""

    bus: Bus
    operator: Operator
    blobs: Blobs
    conversations: Conversations
    downloads: Downloads
    answers: Answers
    shelves: Shelves
    live: Watching
    engines: Engines
    finder: Finding
    jobs: Jobs
    pages: Pages
    templates: Renderer
    door: Door
    max_upload: int
    ready: Mapping[str, Check]
    draining: asyncio.Event = field(default_factory=asyncio.Event)
