"""Publishing, appending and replying."""

import time
from collections.abc import Awaitable
from datetime import timedelta

from redis.exceptions import ResponseError

from archive_bus._errors import BusUnavailable, JournalConflict
from archive_bus._redis.connections import Connections, Written, accepted, flat_fields
from archive_bus._writer import Argument, Writer
from archive_contracts.envelope import Envelope
from archive_contracts.streams import REPLIES, Stream

DEDUP_WINDOW = timedelta(hours=1)


class Publishing:
    """Writes entries, and the groups that are to see them."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._grouped: set[str] = set()

    async def publish(self, stream: Stream, partition: str, envelope: Envelope, *, timeout: float) -> str:
        """Add an envelope once for each id; create the groups of the map first."""
        key = stream.physical(partition)
        until = time.monotonic() + timeout
        if stream.max_length is not None:
            return await self._broadcast(stream, key, envelope, timeout)
        fields = flat_fields(envelope)
        keys = [key, f"{key}:seen:{envelope.id}"]
        for _ in range(3):
            if key not in self._grouped:
                await self.ensure(self._connections.publisher, stream, key, timeout)
            window = int(DEDUP_WINDOW.total_seconds() * 1000)
            sent = self._connections.publisher.script("publish", keys, [window, *fields])
            reply = await accepted(sent, max(0.0, until - time.monotonic()))
            if reply is not None:
                return reply[1].decode()
            # The stream has been lost with its groups: they come back before the entry does, or nobody would see it.
            self._grouped.discard(key)
        raise BusUnavailable(f"stream {key} vanishes as soon as it is created")

    async def _broadcast(self, stream: Stream, key: str, envelope: Envelope, timeout: float) -> str:
        length = ("MAXLEN", "~", stream.max_length or 1)
        reply = await accepted(
            self._connections.publisher.send("XADD", key, *length, "*", *flat_fields(envelope)), timeout
        )
        return reply.decode()

    async def ensure(self, writer: Writer, stream: Stream, key: str, timeout: float) -> None:
        """Create the stream with the groups of the map, which see it from its start."""
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
            *flat_fields(envelope),
        ]
        keys = [key, f"{key}:seen:{envelope.id}"]
        outcome, entry = await accepted(self._connections.publisher.script("append", keys, args), timeout)
        if outcome < 0:
            raise JournalConflict(key, expected=expected or 0, found=int(entry))
        return entry.decode()

    def reply(self, process: str, envelope: Envelope, *, timeout: float) -> Awaitable[bool]:
        """Queue an entry for a caller's reply stream."""
        key = REPLIES.physical(process)
        length = ("MAXLEN", "~", REPLIES.max_length or 1)
        # NOMKSTREAM: a stream that is gone means a caller that is gone; nobody would ever read a new one.
        return Written(
            self._connections.replier.send("XADD", key, "NOMKSTREAM", *length, "*", *flat_fields(envelope)), timeout
        )
