"""A bus without a server, for tests of handlers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from archive_blobs import Blobs
from archive_bus import (
    Acked,
    AnswerLogs,
    Backlog,
    Bus,
    BusOptions,
    BusUnavailable,
    Entry,
    Feed,
    Inboxes,
    Lane,
    Lease,
    Limits,
    Owners,
    Prefetch,
    Runs,
    Starts,
    Timers,
    letter_of,
)
from archive_bus import wire as wire_of
from archive_contracts.envelope import Envelope
from archive_contracts.streams import REPLIES, Server, Stream
from archive_testkit.memory_answers import MemoryAnswerLogs
from archive_testkit.memory_broker import Broker
from archive_testkit.memory_inboxes import MemoryInboxes
from archive_testkit.memory_log import heard_in_time, in_time
from archive_testkit.memory_owners import MemoryOwners
from archive_testkit.memory_timers import MemoryTimers

R = TypeVar("R")

DEFAULT = Limits()
SETTLE_TIMEOUT_S = 5.0
IDLE_S = 1.0
REPLY_LIFE_S = 30.0


def memory_bus(
    service: str, broker: Broker, *, grace_s: float = 2.0, blobs: Blobs | None = None, limits: Limits = DEFAULT
) -> Bus:
    """Return a service's bus on a broker in memory; buses on one broker are processes of one installation.

    The delivery rules are the real ones: leases, attempts, dead letters, replies and drains happen as on a server.
    """
    options = BusOptions(service=service, grace_s=grace_s, limits=limits)
    return Bus(MemoryTransport(broker, depth=limits.depth), options, blobs=blobs)


class MemoryTransport:
    """What the bus needs from a server, done by a broker in memory."""

    def __init__(self, broker: Broker, *, depth: int = DEFAULT.depth) -> None:
        self._broker = broker
        self._depth = depth
        self.answers: AnswerLogs = MemoryAnswerLogs(broker, _Written)
        self.inboxes: Inboxes = MemoryInboxes(broker)
        self.owners: Owners = MemoryOwners(broker)
        self.timers: Timers = MemoryTimers(broker, depth=depth)

    async def start(self) -> None:
        """There is nothing to connect."""

    async def stop(self) -> None:
        """There is nothing to disconnect."""

    async def publish(
        self, stream: Stream, partition: str, envelope: Envelope, *, timeout: float, lease: Lease | None = None
    ) -> str:
        """Add an envelope once for each id; create the groups of the map first."""
        key, fields = stream.physical(partition), wire_of(envelope)

        def add() -> str:
            in_time(lease)
            if stream.max_length is not None:
                return self._broker.broadcast(key, envelope.id, fields, most=stream.max_length)
            self._broker.ensure(key, tuple(stream.consumers))
            return self._broker.publish(key, envelope.id, fields, depth=self._depth)

        return await self._ask(Server.BUS, add, timeout=timeout)

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
        """Append to a journal once for each id."""
        key, fields = stream.physical(entity), wire_of(envelope)

        def add() -> str:
            in_time(lease)
            return self._broker.append(stream, key, envelope.id, fields, expected=expected)

        return await self._ask(Server.BUS, add, timeout=timeout)

    def reply(self, process: str, envelope: Envelope, *, timeout: float, lease: Lease | None = None) -> Awaitable[bool]:
        """Write to a caller's reply stream."""
        key, fields = REPLIES.physical(process), wire_of(envelope)

        def write() -> bool:
            heard_in_time(lease)
            return self._broker.reply(key, fields, most=REPLIES.max_length or 1)

        return _Written(self._broker.submit(Server.STATE, write), timeout)

    async def pump(self, lane: Lane, feed: Feed, *, prefetch: Prefetch) -> None:
        """Feed new entries until cancelled."""

        def take() -> Sequence[Entry]:
            self._broker.ensure(lane.key, tuple(lane.stream.consumers))
            return self._broker.take(lane, count=prefetch())

        while True:
            entries = take() if self._broker.answers(Server.BUS) else ()
            if not entries:
                await self._broker.changed(within_s=IDLE_S)
            await feed(entries)

    async def claim(self, lane: Lane, *, count: int) -> Sequence[Entry]:
        """Take over entries that have been idle for the lease."""
        return await self._ask(Server.BUS, lambda: self._broker.claim(lane, count=count))

    async def started(self, lane: Lane, runs: Runs, *, alone: bool = False) -> Sequence[Starts]:
        """Note runs that begin."""
        return await self._ask(Server.BUS, lambda: self._broker.started(lane, runs, alone=alone))

    async def ack(self, lane: Lane, ids: Sequence[str]) -> Sequence[Acked]:
        """Acknowledge what is still owned."""
        return await self._ask(Server.BUS, lambda: self._broker.ack(lane, ids))

    async def extend(self, lane: Lane, ids: Sequence[str]) -> Sequence[str]:
        """Renew leases; returns the ids that were lost."""
        return await self._ask(Server.BUS, lambda: self._broker.extend(lane, ids))

    async def release(self, lane: Lane, runs: Runs, *, delay_s: float = 0.0, failed: bool = False) -> None:
        """Let any consumer have the entries after the delay."""
        await self._ask(Server.BUS, lambda: self._broker.release(lane, runs, delay_s=delay_s, failed=failed))

    async def unbegun(self, lane: Lane) -> Sequence[str]:
        """Return what the consumer holds without ever having begun it."""
        return await self._ask(Server.BUS, lambda: self._broker.unbegun(lane))

    async def bury(self, lane: Lane, entry: Entry, cause: Mapping[str, str]) -> bool:
        """Move an entry to the dead letters with its cause and its raw fields."""
        letter = letter_of(lane, entry, cause)
        return await self._ask(Server.BUS, lambda: self._broker.bury(lane, entry.id, letter))

    async def reap(self, lane: Lane, *, leaving: bool = False) -> None:
        """A consumer in memory that owns nothing leaves no trace."""

    async def backlog(self, lane: Lane) -> Backlog | None:
        """Return how the group stands."""
        groups = await self._ask(Server.BUS, lambda: self._broker.backlog(lane.key))
        return next((each for each in groups if each.group == lane.group), None)

    async def trim(self, stream: Stream, partition: str) -> int:
        """Drop what every group has acknowledged and the retention does not keep."""
        return await self._ask(Server.BUS, lambda: self._broker.trim(stream, stream.physical(partition)))

    async def read(self, key: str, *, server: Server, after: str, count: int = 500) -> Sequence[Entry]:
        """Read entries after an id, at once."""
        return await self._ask(server, lambda: self._broker.read(key, after=after, count=count))

    async def tail(self, key: str, *, server: Server, after: str) -> AsyncIterator[Sequence[Entry]]:
        """Read entries after an id as they come."""
        while True:
            batch = await self._ask(server, partial(self._broker.read, key, after=after, count=500))
            idle_from = time.monotonic()
            while not batch and (left := idle_from + IDLE_S - time.monotonic()) > 0:
                await self._broker.changed(within_s=left)
                batch = await self._ask(server, partial(self._broker.read, key, after=after, count=500))
            if batch:
                after = batch[-1].id
            yield batch

    def replies(self, process: str, *, after: str) -> AsyncIterator[Sequence[Entry]]:
        """Read the reply stream of a process as it grows."""
        return self.tail(REPLIES.physical(process), server=Server.STATE, after=after)

    async def open_replies(self, process: str, *, read_to: str) -> bool:
        """Create or renew this process's reply stream."""
        key = REPLIES.physical(process)

        def renew() -> bool:
            created = self._broker.ensure(key, ("owner",))
            self._broker.expire(key, within_s=REPLY_LIFE_S)
            return created

        return await self._ask(Server.STATE, renew)

    async def close_replies(self, process: str) -> None:
        """Delete this process's reply stream."""
        await self._ask(Server.STATE, lambda: self._broker.drop(REPLIES.physical(process)))

    async def listening(self, processes: Sequence[str]) -> Sequence[bool]:
        """Return which processes still have a reply stream."""
        keys = [REPLIES.physical(process) for process in processes]
        return await self._ask(Server.STATE, lambda: [self._broker.log(key) is not None for key in keys])

    def mark(self, name: str, *, server: Server, lifetime: timedelta) -> Awaitable[bool]:
        """Set a mark."""

        def set_mark() -> bool:
            self._broker.mark(server, name, lifetime_s=lifetime.total_seconds())
            return True

        return _Written(self._broker.submit(server, set_mark), SETTLE_TIMEOUT_S)

    async def marked(self, name: str, *, server: Server) -> bool:
        """Whether a mark is set."""
        return await self._ask(server, lambda: self._broker.marked(server, name))

    async def check(self) -> str | None:
        """Return what is wrong with the servers, or None."""
        for server in Server:
            if not self._broker.answers(server):
                return f"the {server} server does not answer"
        return None

    async def _ask(self, server: Server, do: Callable[[], R], *, timeout: float = SETTLE_TIMEOUT_S) -> R:
        """Do something as soon as a server is there; yields to the loop as a round trip would."""
        until = time.monotonic() + timeout
        await asyncio.sleep(0)
        while not self._broker.answers(server):
            if (left := until - time.monotonic()) <= 0:
                raise BusUnavailable(f"the {server} server did not answer within {timeout:g} s")
            await self._broker.changed(within_s=left)
        return do()


class _Written:
    """The outcome of a write; need not be awaited."""

    __slots__ = ("_outcome", "_timeout")

    def __init__(self, outcome: asyncio.Future[bool], timeout: float) -> None:
        self._outcome = outcome
        self._timeout = timeout

    def __await__(self) -> Generator[Any, None, bool]:
        return self._wait().__await__()

    async def _wait(self) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._outcome
        except TimeoutError:
            raise BusUnavailable(f"the server did not answer within {self._timeout:g} s") from None
