"""Delayed messages, in memory."""

import heapq

from archive_bus import BusUnavailable, Busy, Due, Lease, Moved, wire
from archive_contracts.envelope import Envelope
from archive_contracts.streams import Server, Stream
from archive_testkit.memory_broker import Broker
from archive_testkit.memory_log import in_time


class MemoryTimers:
    """The same rules as the scripts."""

    def __init__(self, broker: Broker, *, depth: int) -> None:
        self._broker = broker
        self._depth = depth

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
        key, now = stream.physical(partition), self._broker.now()
        self._answering()
        if self._broker.known(key, envelope.id):
            return None
        in_time(lease)
        if (waiting := len(self._broker.timers[key])) >= self._depth:
            raise Busy(f"{waiting} delayed messages of {key} wait for their time")
        at = due.at_ms / 1000 if due.at_ms else now + due.delay_ms / 1000
        heapq.heappush(self._broker.timers[key], (at, envelope.id, wire(envelope)))
        self._broker.remember(key, envelope.id, "timer", for_s=max(0.0, at - now))
        return max(0.0, at - now)

    async def move(self, stream: Stream, partition: str, *, most: int) -> Moved:
        """Put what is due on its stream."""
        key, now, count = stream.physical(partition), self._broker.now(), 0
        self._answering()
        waiting = self._broker.timers[key]
        while waiting and waiting[0][0] <= now and count < most:
            _, message_id, fields = heapq.heappop(waiting)
            self._broker.ensure(key, tuple(stream.consumers))
            self._broker.remember(key, message_id, self._broker.add(key, fields))
            count += 1
        return Moved(count=count, next_in_s=max(0.0, waiting[0][0] - now) if waiting else None)

    def _answering(self) -> None:
        if not self._broker.answers(Server.BUS):
            raise BusUnavailable("the bus server does not answer")
