"""What single features need from a message server, beside the transport that all of them share."""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from archive_bus._lease import Lease
from archive_contracts.envelope import Envelope
from archive_contracts.streams import Stream


@dataclass(frozen=True, slots=True)
class LogEnd:
    """How far the log of an answer has come: the place of its last entry, and whether nothing follows."""

    seq: int
    ended: bool


class AnswerLogs(Protocol):
    """Logs of streamed answers, on the state server; writes keep their order among replies.

    Entries lie at ``0-<seq>`` and the last one at ``1-<seq>``: the server itself then refuses what was sent twice, what
    a stale run adds behind a newer one, and whatever comes after the end.
    """

    async def open(self, key: str, *, life: timedelta) -> None:
        """Create a log that vanishes after ``life`` unless it ends before."""
        ...

    def add(self, key: str, envelope: Envelope, *, timeout: float, lease: Lease | None = None) -> Awaitable[bool]:
        """Write an entry at its ``seq`` while the ``lease`` lasts, which hears of it else. False: the log is gone."""
        ...

    def end(
        self, key: str, envelope: Envelope, *, life: timedelta, timeout: float, lease: Lease | None = None
    ) -> Awaitable[bool]:
        """Write the last entry behind all others; the log then lives for ``life``. False: it is gone or has ended."""
        ...

    async def reached(self, key: str) -> LogEnd | None:
        """Return how far a log has come, None when there is no such log."""
        ...


@dataclass(frozen=True, slots=True)
class Due:
    """When a message becomes visible: at a time, in milliseconds since the epoch, or, when that is 0, after a delay."""

    at_ms: int = 0
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """How many messages became visible, and the seconds until the next of the lane is due, None when there is none."""

    count: int
    next_in_s: float | None


class Timers(Protocol):
    """Messages that become visible later, kept beside their stream; time is the server's."""

    async def delay(
        self,
        stream: Stream,
        partition: str,
        envelope: Envelope,
        *,
        due: Due,
        timeout: float,
        lease: Lease | None = None,
    ) -> float | None:
        """Keep an envelope until it is due, once for each id. Returns the seconds left, None when the id is known."""
        ...

    async def move(self, stream: Stream, partition: str, *, most: int) -> Moved:
        """Put what is due on its stream; any process may, and as many as like."""
        ...
