"""The transport on Redis or Valkey."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from faststream.redis import RedisBroker
from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ResponseError

from archive_bus._errors import BusUnavailable, JournalConflict
from archive_bus._pump import pump
from archive_bus._transport import Entry, Feed, Lane, Starts, wire
from archive_bus._writer import AWAY, Argument, Writer, within
from archive_contracts.envelope import Envelope
from archive_contracts.streams import REPLIES, Server, Stream, dead_letters

SETTLE_TIMEOUT_S = 5.0
DEDUP_WINDOW = timedelta(hours=1)
REPLY_LIFE_MS = 60_000
HANDED_BACK_IDLE_MS = 1_000_000_000
CHECK_TIMEOUT_S = 0.7
TAIL_BLOCK_MS = 1000
CLAIM_PAGES = 16
MOST_HELD = 10_000


@dataclass(frozen=True, slots=True)
class RedisUrls:
    """Where the two roles are; one server may serve both."""

    bus: str
    state: str


class RedisTransport:
    """Streams, scripts and tombstones on two servers.

    Publishing, settling and replying have a connection each, so that a large payload delays no heartbeat.
    """

    def __init__(self, urls: RedisUrls) -> None:
        self._pools = {Server.BUS: _pool(urls.bus), Server.STATE: _pool(urls.state)}
        self._readers = {server: Redis.from_pool(_pool(url)) for server, url in _by_server(urls).items()}
        self._publisher = Writer(self._pools[Server.BUS], name="bus")
        self._settler = Writer(self._pools[Server.BUS], name="bus settle")
        self._replier = Writer(self._pools[Server.STATE], name="state")
        self._broker: RedisBroker = RedisBroker(
            urls.bus,
            protocol=cast("str", 2),  # FastStream's annotation is wrong: redis-py wants the number
            socket_connect_timeout=1.0,
            socket_timeout=3.0,
            max_connections=10_000,
            logger=_broker_log(),
        )
        self._grouped: set[str] = set()
        self._scanned: dict[tuple[str, str], str] = {}

    async def start(self) -> None:
        """Start writing; a server that is away is waited for by each caller."""
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        for writer in (self._publisher, self._settler, self._replier):
            self._tasks.create_task(writer.run())
        await self._broker.connect()

    async def stop(self) -> None:
        """Send what is queued and disconnect."""
        for writer in (self._publisher, self._settler, self._replier):
            writer.stop()
        await self._tasks.__aexit__(None, None, None)
        await self._broker.stop()
        for client in self._readers.values():
            await client.aclose(close_connection_pool=True)

    # -- publishing --------------------------------------------------------------------------------------------------

    async def publish(self, stream: Stream, partition: str, envelope: Envelope, *, timeout: float) -> str:
        """Add an envelope once for each id; create the groups of the map first."""
        key = stream.physical(partition)
        until = time.monotonic() + timeout
        if stream.max_length is not None:
            return await self._broadcast(stream, key, envelope, timeout)
        fields = _fields(envelope)
        keys = [key, f"{key}:seen:{envelope.id}"]
        for _ in range(3):
            if key not in self._grouped:
                await self._ensure(self._publisher, stream, key, timeout)
            window = int(DEDUP_WINDOW.total_seconds() * 1000)
            sent = self._publisher.script("publish", keys, [window, *fields])
            reply = await _accepted(sent, max(0.0, until - time.monotonic()))
            if reply is not None:
                return reply[1].decode()
            # The stream has been lost with its groups: they come back before the entry does, or nobody would see it.
            self._grouped.discard(key)
        raise BusUnavailable(f"stream {key} vanishes as soon as it is created")

    async def _broadcast(self, stream: Stream, key: str, envelope: Envelope, timeout: float) -> str:
        length = ("MAXLEN", "~", stream.max_length or 1)
        reply = await _accepted(self._publisher.send("XADD", key, *length, "*", *_fields(envelope)), timeout)
        return reply.decode()

    async def _ensure(self, writer: Writer, stream: Stream, key: str, timeout: float) -> None:
        for group in stream.consumers:
            try:
                await writer.call("XGROUP", "CREATE", key, group, "0", "MKSTREAM", timeout=timeout)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise BusUnavailable(f"the server refuses a group of {key}: {error}") from error
        self._grouped.add(key)

    async def append(
        self, stream: Stream, entity: str, envelope: Envelope, *, expected: int | None, timeout: float
    ) -> str:
        """Append to a journal once for each id."""
        key = stream.physical(entity)
        life = int(stream.retention.total_seconds() * 1000)
        args: list[Argument] = [
            int(DEDUP_WINDOW.total_seconds() * 1000),
            life,
            -1 if expected is None else expected,
            *_fields(envelope),
        ]
        keys = [key, f"{key}:seen:{envelope.id}"]
        outcome, entry = await _accepted(self._publisher.script("append", keys, args), timeout)
        if outcome < 0:
            raise JournalConflict(key, expected=expected or 0, found=int(entry))
        return entry.decode()

    def reply(self, process: str, envelope: Envelope, *, timeout: float) -> Awaitable[bool]:
        """Queue an entry for a caller's reply stream."""
        key = REPLIES.physical(process)
        length = ("MAXLEN", "~", REPLIES.max_length or 1)
        # NOMKSTREAM: a stream that is gone means a caller that is gone; nobody would ever read a new one.
        return _Written(self._replier.send("XADD", key, "NOMKSTREAM", *length, "*", *_fields(envelope)), timeout)

    # -- consuming ---------------------------------------------------------------------------------------------------

    async def pump(self, lane: Lane, feed: Feed, *, prefetch: int) -> None:
        """Feed new entries until cancelled."""

        async def heal() -> None:
            try:
                await self._ensure(self._settler, lane.stream, lane.key, SETTLE_TIMEOUT_S)
            except BusUnavailable as error:
                raise OSError(str(error)) from error

        await pump(self._broker, lane, feed, prefetch=prefetch, heal=heal)

    async def claim(self, lane: Lane, *, count: int) -> Sequence[Entry]:
        """Take over entries that have been idle for the lease."""
        lease = int(lane.stream.lease.total_seconds() * 1000)
        place = (lane.key, lane.group)
        for _ in range(CLAIM_PAGES):
            # One call looks at ten times COUNT pending entries. Behind those that others are busy with it would never
            # find a free one, so the scan goes on where the last one stopped.
            start = self._scanned.pop(place, "0-0")
            command = ("XAUTOCLAIM", lane.key, lane.group, lane.consumer, lease, start, "COUNT", count)
            following, rows, *_ = await _settled(self._settler.send(*command), gone=(b"0-0", ()))
            if following != b"0-0":
                self._scanned[place] = following.decode()
            if rows or following == b"0-0":
                return [Entry(name.decode(), _pairs(fields), redelivered=True) for name, fields in rows if fields]
        return ()

    async def started(self, lane: Lane, ids: Sequence[str]) -> Sequence[Starts]:
        """Count executions that begin."""
        counts = await self._settle("started", [_attempts(lane)], ids)
        return [Starts(begun, failed) for begun, failed in counts]

    async def ack(self, lane: Lane, ids: Sequence[str]) -> Sequence[bool]:
        """Acknowledge what is still owned."""
        outcome = await self._settle("ack", [lane.key, _attempts(lane)], [lane.group, lane.consumer, *ids])
        return [bool(done) for done in outcome] if outcome is not None else [False] * len(ids)

    async def extend(self, lane: Lane, ids: Sequence[str]) -> Sequence[str]:
        """Renew leases; returns the ids that were lost."""
        lost = await self._settle("extend", [lane.key], [lane.group, lane.consumer, *ids])
        return [entry_id.decode() for entry_id in lost] if lost is not None else list(ids)

    async def park(self, lane: Lane, entry_id: str, *, delay_s: float, failed: bool = True) -> None:
        """Let any consumer have the entry after the delay."""
        lease = lane.stream.lease.total_seconds()
        idle = int(max(0.0, lease - delay_s) * 1000)
        await self._release(lane, [entry_id], idle=idle, begun=0 if failed else -1, failed=int(failed))

    async def hand_back(self, lane: Lane, ids: Sequence[str], *, begun: bool) -> None:
        """Let any consumer have the entries at once."""
        await self._release(lane, ids, idle=HANDED_BACK_IDLE_MS, begun=-1 if begun else 0, failed=0)

    async def _release(self, lane: Lane, ids: Sequence[str], *, idle: int, begun: int, failed: int) -> None:
        args: list[Argument] = [lane.group, lane.consumer, idle, begun, failed, *ids]
        await self._settle("release", [lane.key, _attempts(lane)], args)

    async def unbegun(self, lane: Lane) -> Sequence[str]:
        """Return what the consumer holds without ever having begun it."""
        command = ("XPENDING", lane.key, lane.group, "-", "+", MOST_HELD, lane.consumer)
        rows = await _settled(self._settler.send(*command), gone=())
        if not rows:
            return ()
        held = [row[0].decode() for row in rows]
        begun = await _settled(self._settler.send("HMGET", _attempts(lane), *held), gone=())
        return [entry_id for entry_id, count in zip(held, begun, strict=True) if count is None]

    async def bury(self, lane: Lane, entry: Entry, cause: Mapping[str, str]) -> bool:
        """Move an entry to the dead letters with its cause and its raw fields."""
        fields: list[Argument] = ["entry", entry.id, "group", lane.group, "at", str(int(time.time() * 1000))]
        for name, value in cause.items():
            fields += [f"cause.{name}", value]
        for name, value in entry.fields.items():
            fields += [b"raw." + name, value]
        keys = [lane.key, _attempts(lane), dead_letters(lane.key, lane.group)]
        reply = await self._settle("bury", keys, [lane.group, lane.consumer, entry.id, *fields])
        return reply is not None

    async def trim(self, stream: Stream, partition: str) -> int:
        """Drop what every group has acknowledged and the retention does not keep."""
        keep_from = int((time.time() - stream.retention.total_seconds()) * 1000)
        return await self._settle("trim", [stream.physical(partition)], [keep_from])

    async def _settle(self, script: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        return await _settled(self._settler.script(script, keys, args), gone=None)

    # -- reading without a group -------------------------------------------------------------------------------------

    async def read(self, key: str, *, server: Server, after: str, count: int = 500) -> Sequence[Entry]:
        """Read entries after an id, at once."""
        try:
            rows: Any = await self._readers[server].xrange(key, min=f"({after}", count=count)
        except AWAY as error:
            raise BusUnavailable(f"the server is away: {error}") from error
        return [Entry(entry_id.decode(), fields) for entry_id, fields in rows]

    async def tail(self, key: str, *, server: Server, after: str) -> AsyncIterator[Sequence[Entry]]:
        """Read entries after an id as they come."""
        client = self._readers[server]
        while True:
            try:
                reply: Any = await client.xread({key: after}, count=500, block=TAIL_BLOCK_MS)
            except AWAY as error:
                raise BusUnavailable(f"the server is away: {error}") from error
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError  # redis-py lost it: a cancellation during its connect can vanish there
            if not reply:
                yield ()
                continue
            batch = [Entry(entry_id.decode(), fields) for entry_id, fields in reply[0][1]]
            after = batch[-1].id
            yield batch

    async def open_replies(self, process: str, *, read_to: str) -> bool:
        """Create or renew this process's reply stream and drop what was read."""
        key, created = REPLIES.physical(process), True
        try:
            await self._replier.call("XGROUP", "CREATE", key, "owner", "$", "MKSTREAM", timeout=SETTLE_TIMEOUT_S)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
            created = False
        await self._replier.call("XTRIM", key, "MINID", read_to, timeout=SETTLE_TIMEOUT_S)
        await self._replier.call("PEXPIRE", key, REPLY_LIFE_MS, timeout=SETTLE_TIMEOUT_S)
        return created

    async def close_replies(self, process: str) -> None:
        """Delete this process's reply stream."""
        await self._replier.call("UNLINK", REPLIES.physical(process), timeout=1.0)

    # -- tombstones and health ---------------------------------------------------------------------------------------

    def mark(self, name: str, *, server: Server, lifetime: timedelta) -> Awaitable[bool]:
        """Set a mark."""
        life = int(lifetime.total_seconds() * 1000)
        return _Written(self._marker(server).send("SET", _mark(name), "1", "PX", life), SETTLE_TIMEOUT_S)

    async def marked(self, name: str, *, server: Server) -> bool:
        """Whether a mark is set."""
        return bool(await self._marker(server).call("EXISTS", _mark(name), timeout=SETTLE_TIMEOUT_S))

    def _marker(self, server: Server) -> Writer:
        return self._publisher if server is Server.BUS else self._replier

    async def check(self) -> str | None:
        """Return what is wrong with the servers, or None."""
        for role, writer in (("bus", self._settler), ("state", self._replier)):
            try:
                await writer.call("PING", timeout=CHECK_TIMEOUT_S)
            except BusUnavailable:
                return f"the {role} server does not answer"
            except ResponseError as error:
                return f"the {role} server refuses: {error}"
        return None


def _broker_log() -> logging.Logger:
    log = logging.getLogger("faststream.redis")
    log.setLevel(logging.WARNING)  # it announces every subscriber and every finished task
    return log


class _Written:
    """Whether a reply found its stream; need not be awaited."""

    __slots__ = ("_reply", "_timeout")

    def __init__(self, reply: "asyncio.Future[Any]", timeout: float) -> None:
        self._reply = reply
        self._timeout = timeout

    def __await__(self) -> Generator[Any, None, bool]:
        return self._wait().__await__()

    async def _wait(self) -> bool:
        return await _accepted(self._reply, self._timeout) is not None


async def _accepted(reply: "asyncio.Future[Any]", timeout: float) -> Any:
    """Wait for a reply; a server that refuses (memory full, disk failing) is as unavailable as one that is away."""
    try:
        return await within(reply, timeout)
    except ResponseError as error:
        raise BusUnavailable(f"the server refuses: {error}") from error


async def _settled(reply: "asyncio.Future[Any]", *, gone: Any) -> Any:
    """Wait for the reply to a settling command; ``gone`` stands for it when stream and group no longer exist."""
    try:
        return await within(reply, SETTLE_TIMEOUT_S)
    except ResponseError as error:
        if "NOGROUP" in str(error):
            return gone
        raise BusUnavailable(f"the server refuses: {error}") from error


def _pool(url: str) -> ConnectionPool:
    return ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType] - redis-py leaves **kwargs untyped
        url, protocol=2, socket_connect_timeout=1.0, socket_timeout=3.0, max_connections=10_000
    )


def _by_server(urls: RedisUrls) -> dict[Server, str]:
    return {Server.BUS: urls.bus, Server.STATE: urls.state}


def _fields(envelope: Envelope) -> list[Argument]:
    return [part for field in wire(envelope).items() for part in field]


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _attempts(lane: Lane) -> str:
    return f"{lane.key}:{lane.group}:attempts"


def _mark(name: str) -> str:
    return f"{{control:0}}:{name}"
