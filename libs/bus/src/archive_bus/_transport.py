"""What the bus needs from a message server: the one seam between our delivery rules and Redis."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import IntEnum
from typing import Protocol

from archive_bus._backlog import Backlog
from archive_bus._errors import PayloadError
from archive_bus._inbox import Inboxes
from archive_bus._lease import Lease
from archive_bus._owners import Owners
from archive_bus._transport_parts import AnswerLogs, Timers
from archive_contracts.envelope import Envelope
from archive_contracts.streams import Server, Stream

Fields = Mapping[bytes, bytes]


@dataclass(slots=True)
class Entry:
    """One entry as it was read: its id on the stream and its fields.

    ``since`` is a moment of ``clock`` at which the server had not yet given it to this consumer: its lease holds from
    there at least.
    """

    id: str
    fields: Fields
    since: float = 0.0
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class Starts:
    """How often the handling of an entry began, and how often it ended in a reported failure; -1 when not owned."""

    begun: int
    failed: int

    @property
    def suspect(self) -> bool:
        """Whether too many of its earlier runs ended without a word."""
        return self.begun - 1 - self.failed >= SUSPECT_AFTER


Runs = Mapping[str, str]
"""Runs by the ids of their entries, each by a name of letters and digits that no other run of its entry has; an empty
name for an entry of which no run began here."""


SUSPECT_AFTER = 2
"""Runs that took their process with them, after which a message is a suspect and runs alone."""


class Acked(IntEnum):
    """What became of an acknowledgement."""

    DONE = 1
    BEFORE = 0
    """The entry was settled before; by this consumer, when its lease has not ended meanwhile."""
    TAKEN = -1
    """Another consumer owns it."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A partition of a stream as one consumer group sees it, and this process's name in the group."""

    stream: Stream
    partition: str
    group: str
    consumer: str

    @property
    def key(self) -> str:
        """The stream's key."""
        return self.stream.physical(self.partition)


_KEYS = {field.name: field.name.encode() for field in fields(Envelope)}


def wire(envelope: Envelope) -> dict[bytes, bytes]:
    """Return the fields of a stream entry as they travel.

    Raises:
        PayloadError: a field holds what UTF-8 cannot say (lone surrogates).
    """
    try:
        return {
            _KEYS[name]: value if isinstance(value, bytes) else str(value).encode()
            for name, value in envelope.to_fields().items()
        }
    except UnicodeEncodeError as error:
        raise PayloadError(f"a field of the envelope is no Unicode text: {error}") from error


Feed = Callable[[Sequence[Entry]], Awaitable[None]]
"""Takes entries over; returns when it can take more."""
Prefetch = Callable[[], int]
"""Says how many entries the next read may bring, at least one."""


class Transport(Protocol):
    """A message server. Every method raises BusUnavailable when the server does not answer in time."""

    @property
    def answers(self) -> AnswerLogs:
        """Logs of streamed answers."""
        ...

    @property
    def inboxes(self) -> Inboxes:
        """What groups have handled."""
        ...

    @property
    def owners(self) -> Owners:
        """Who reads which partition of an ordered stream."""
        ...

    @property
    def timers(self) -> Timers:
        """Messages that become visible later."""
        ...

    async def start(self) -> None:
        """Connect, or raise BusUnavailable."""
        ...

    async def stop(self) -> None:
        """Flush what is queued and disconnect."""
        ...

    async def publish(
        self, stream: Stream, partition: str, envelope: Envelope, *, timeout: float, lease: Lease | None = None
    ) -> str:
        """Add an envelope once for each id; create the groups of the map first. Returns the entry's id.

        Raises:
            LeaseLost: the ``lease`` was over when the server got it.
        """
        ...

    async def append(
        self,
        stream: Stream,
        entity: str,
        envelope: Envelope,
        *,
        expected: int | None,
        timeout: float,
        lease: Lease | None = None,
    ) -> str:
        """Append to a journal once for each id. Raises JournalConflict when its length is not the expected one."""
        ...

    def reply(self, process: str, envelope: Envelope, *, timeout: float, lease: Lease | None = None) -> Awaitable[bool]:
        """Write to a caller's reply stream, in the order of the calls. False: the caller is gone.

        A reply that the server gets after the end of the ``lease`` is told to it, also when nobody awaits the reply.
        """
        ...

    async def pump(self, lane: Lane, feed: Feed, *, prefetch: Prefetch) -> None:
        """Feed new entries until cancelled; outlives restarts of the server and the loss of stream or group."""
        ...

    async def claim(self, lane: Lane, *, count: int) -> Sequence[Entry]:
        """Take over entries that have been idle for the stream's lease."""
        ...

    async def started(self, lane: Lane, runs: Runs, *, alone: bool = False) -> Sequence[Starts]:
        """Note runs that begin; a suspect's only when it is ``alone``, since it has to wait for that."""
        ...

    async def ack(self, lane: Lane, ids: Sequence[str]) -> Sequence[Acked]:
        """Acknowledge what is still owned."""
        ...

    async def extend(self, lane: Lane, ids: Sequence[str]) -> Sequence[str]:
        """Renew leases; returns the ids that were lost."""
        ...

    async def release(self, lane: Lane, runs: Runs, *, delay_s: float = 0.0, failed: bool = False) -> None:
        """Let any consumer have the entries after the delay.

        The runs ``failed``, or else count as never begun; also of entries that another consumer has by now.
        """
        ...

    async def unbegun(self, lane: Lane) -> Sequence[str]:
        """Return what the consumer holds without ever having begun it."""
        ...

    async def bury(self, lane: Lane, entry: Entry, cause: Mapping[str, str]) -> bool:
        """Move an entry to the dead letters with its cause and its raw fields."""
        ...

    async def reap(self, lane: Lane, *, leaving: bool = False) -> None:
        """Remove consumers of the group that own nothing and are silent, and this one when it is ``leaving``."""
        ...

    async def backlog(self, lane: Lane) -> Backlog | None:
        """Return how the group stands, None when there is no such group."""
        ...

    async def trim(self, stream: Stream, partition: str) -> int:
        """Drop what every group has acknowledged and the retention does not keep."""
        ...

    async def read(self, key: str, *, server: Server, after: str, count: int = 500) -> Sequence[Entry]:
        """Read entries after an id, at once."""
        ...

    def tail(self, key: str, *, server: Server, after: str) -> AsyncIterator[Sequence[Entry]]:
        """Read entries after an id as they come; an empty batch about once a second when none come."""
        ...

    def replies(self, process: str, *, after: str) -> AsyncIterator[Sequence[Entry]]:
        """Read a process's replies as ``tail`` reads entries; such as travelled together have one entry's id."""
        ...

    async def open_replies(self, process: str, *, read_to: str) -> bool:
        """Create or renew this process's reply stream, which outlives its owner by half a minute; drop what was read.

        True: there was none, so it has to be read from its start.
        """
        ...

    async def close_replies(self, process: str) -> None:
        """Delete this process's reply stream."""
        ...

    async def listening(self, processes: Sequence[str]) -> Sequence[bool]:
        """Return which processes still have a reply stream: the others are gone, or took their leave."""
        ...

    def mark(self, name: str, *, server: Server, lifetime: timedelta) -> Awaitable[bool]:
        """Set a mark; need not be awaited, and keeps its place among replies when it is on their server."""
        ...

    async def marked(self, name: str, *, server: Server) -> bool:
        """Whether a mark is set."""
        ...

    async def check(self) -> str | None:
        """Return what is wrong with the servers, or None."""
        ...
