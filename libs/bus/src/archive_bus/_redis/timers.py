"""Messages that become visible later."""

import time

from archive_bus._errors import BusUnavailable, Busy
from archive_bus._lease import Lease
from archive_bus._redis.connections import SETTLE_TIMEOUT_S, Connections, accepted, flat_fields, in_time
from archive_bus._redis.publishing import REFUSED, WINDOW_MS, Publishing
from archive_bus._transport_parts import Due, Moved
from archive_contracts.envelope import Envelope
from archive_contracts.streams import Stream


class RedisTimers:
    """A sorted set and a hash beside each stream that has any."""

    def __init__(self, connections: Connections, publishing: Publishing) -> None:
        self._connections = connections
        self._publishing = publishing

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
        """Keep an envelope until it is due."""
        key = stream.physical(partition)
        keys = [f"{key}:due", f"{key}:parcels", f"{key}:seen:{envelope.id}"]
        most = self._publishing.admit(lease)
        args = [WINDOW_MS, due.at_ms, due.delay_ms, most, envelope.id, *flat_fields(envelope)]
        ends = lease.until if lease else None
        left = in_time(await self._connections.publisher.fenced("delay", keys, args, until=ends, timeout=timeout))
        if left == REFUSED:
            raise Busy(f"{most} delayed messages of {key} wait for their time")
        return None if left is None else left / 1000

    async def move(self, stream: Stream, partition: str, *, most: int) -> Moved:
        """Put what is due on its stream."""
        key = stream.physical(partition)
        keys = [key, f"{key}:due", f"{key}:parcels"]
        until = time.monotonic() + SETTLE_TIMEOUT_S
        while (left := until - time.monotonic()) > 0:
            reply = await accepted(self._connections.settler.script("move_due", keys, [WINDOW_MS, most]), left)
            if reply is not None:
                count, next_ms = reply
                return Moved(count=count, next_in_s=None if next_ms < 0 else next_ms / 1000)
            await self._publishing.ensure(self._connections.settler, stream, key, left)
        raise BusUnavailable(f"stream {key} vanishes as soon as it is created")
