"""Publishing, appending and replying."""

import logging
import time
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

from redis.exceptions import ResponseError

from archive_bus._backlog import dropped_groups
from archive_bus._errors import BusUnavailable, Busy, JournalConflict, PayloadError
from archive_bus._lease import Lease
from archive_bus._link import Argument
from archive_bus._options import Limits
from archive_bus._redis.connections import Connections, flat_fields, in_time
from archive_bus._redis.memory import MemoryWatch
from archive_bus._writer import Writer, within
from archive_contracts.envelope import Envelope
from archive_contracts.streams import REPLIES, Stream

log = logging.getLogger(__name__)

DEDUP_WINDOW = timedelta(hours=1)
WINDOW_MS = int(DEDUP_WINDOW.total_seconds() * 1000)
CONFLICT = -2
REFUSED = -2


class Publishing:
    """Writes entries, and the groups that are to see them."""

    def __init__(self, connections: Connections, limits: Limits) -> None:
        self._connections = connections
        self._limits = limits
        self._grouped: set[str] = set()
        self._memory = MemoryWatch(connections.publisher, limits.memory)

    async def publish(
        self, stream: Stream, partition: str, envelope: Envelope, *, timeout: float, lease: Lease | None = None
    ) -> str:
        """Add an envelope once for each id; create the groups of the map first."""
        key = stream.physical(partition)
        until = time.monotonic() + timeout
        if stream.max_length is not None:
            return await self._broadcast(stream, key, envelope, timeout=timeout, lease=lease)
        args = (WINDOW_MS, self.admit(lease), *flat_fields(envelope))
        keys = (key, f"{key}:seen:{envelope.id}")
        for _ in range(3):
            if key not in self._grouped:
                await self.ensure(self._connections.publisher, stream, key, timeout)
                timeout = max(0.0, until - time.monotonic())
            ends = lease.until if lease else None
            reply = await self._connections.publisher.fenced("publish", keys, args, until=ends, timeout=timeout)
            if reply is not None:
                return _admitted(key, in_time(reply))
            # The stream has been lost with its groups: they come back before the entry does, or nobody would see it.
            # A reader that is not waiting just then finds the new stream and notices nothing, so it is said here.
            log.error("%s is gone with its groups: unless it was dropped on purpose, its messages are lost", key)
            self._grouped.discard(key)
            timeout = max(0.0, until - time.monotonic())
        raise BusUnavailable(f"stream {key} vanishes as soon as it is created")

    def admit(self, lease: Lease | None) -> int:
        """Return how many messages may wait. Raises Busy while memory is nearly full, but for outputs of handlers."""
        if lease is None:
            self._memory.admit()
        return self._limits.depth

    async def _broadcast(
        self, stream: Stream, key: str, envelope: Envelope, *, timeout: float, lease: Lease | None
    ) -> str:
        args = (WINDOW_MS, stream.max_length or 1, *flat_fields(envelope))
        keys = (key, f"{key}:seen:{envelope.id}")
        ends = lease.until if lease else None
        reply = await self._connections.publisher.fenced("broadcast", keys, args, until=ends, timeout=timeout)
        return in_time(reply)[1].decode()

    async def ensure(self, writer: Writer, stream: Stream, key: str, timeout: float, *, joining: str = "") -> None:
        """Create the stream with the groups of the map, which see it from its start.

        A group that an operator has dropped comes back only when it is the one that is ``joining``.
        """
        if joining:
            await writer.call("SREM", dropped_groups(key), joining, timeout=timeout)
        dropped = await writer.call("SMEMBERS", dropped_groups(key), timeout=timeout)
        for group in stream.consumers:
            if group.encode() in dropped:
                continue
            try:
                if group == joining:
                    place = f"{key}:{group}"
                    made = writer.script("join", [key, f"{place}:runs", f"{place}:parked"], [group])
                    await within(made, timeout)
                    continue
                await writer.call("XGROUP", "CREATE", key, group, "0", "MKSTREAM", timeout=timeout)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise BusUnavailable(f"the server refuses a group of {key}: {error}") from error
        self._grouped.add(key)

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
        self.admit(lease)
        key = stream.physical(entity)
        life = int(stream.retention.total_seconds() * 1000)
        args: list[Argument] = [
            WINDOW_MS,
            life,
            -1 if expected is None else expected,
            *flat_fields(envelope),
        ]
        keys = [key, f"{key}:seen:{envelope.id}"]
        ends = lease.until if lease else None
        reply = await self._connections.publisher.fenced("append", keys, args, until=ends, timeout=timeout)
        outcome, entry = in_time(reply)
        if outcome == CONFLICT:
            raise JournalConflict(key, expected=expected or 0, found=int(entry))
        return entry.decode()

    def reply(self, process: str, envelope: Envelope, *, timeout: float, lease: Lease | None = None) -> Awaitable[bool]:
        """Queue an entry for a caller's reply stream."""
        try:
            fields = [b"id", envelope.id.encode(), b"type", envelope.type.encode()]
            fields += (b"subject", envelope.subject.encode(), b"seq", b"%d" % envelope.seq, b"data", envelope.data)
        except UnicodeEncodeError as error:
            raise PayloadError(f"a field of the envelope is no Unicode text: {error}") from error
        key, most = REPLIES.physical(process), REPLIES.max_length or 1
        return self._connections.teller.tell(key, fields, most=most, lease=lease, timeout=timeout)


def _admitted(key: str, reply: Any) -> str:
    if reply[0] == REFUSED:
        group, waiting = reply[1].decode(), int(reply[2])
        raise Busy(f"{waiting} messages of {key} wait for the group {group}")
    return reply[1].decode()
