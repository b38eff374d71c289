"""What a process handles: its subscriptions, their ends, and what became of their messages."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from archive_bus._consumer import Consumer
from archive_bus._metrics import Sample, merged
from archive_bus._partitions import Partitions
from archive_bus._transport import Lane, Prefetch

STALE_LOOP_S = 30.0


class Subscription:
    """The handling of one partition, which ends with the bus, or earlier when it is closed."""

    def __init__(self, end: Callable[[], Awaitable[None]]) -> None:
        self._end: Callable[[], Awaitable[None]] | None = end

    async def close(self) -> None:
        """Take nothing new, let what runs finish within the grace, hand the rest back; once."""
        end, self._end = self._end, None
        if end:
            await end()


class Subscriptions:
    """All of a bus's, each in a task of its own; who ``left`` hears of lanes that are no longer read."""

    def __init__(self, *, grace_s: float, left: Callable[[Lane], None]) -> None:
        self._grace_s = grace_s
        self._left = left
        self._serving: dict[Consumer | Partitions, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._former: list[Sample] = []

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Let the task group own the tasks; before the first subscription."""
        self._tasks = tasks

    def begin(self, consumer: Consumer | Partitions, *, prefetch: Prefetch) -> Subscription:
        """Serve until closed or drained."""
        self._serving[consumer] = self._tasks.create_task(consumer.serve(prefetch=prefetch))

        async def end() -> None:
            # In a task of its own: it goes on when its caller is cancelled, and the end of the bus waits for it.
            ending = self._tasks.create_task(self._end(consumer))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            await asyncio.shield(ending)

        return Subscription(end)

    async def drain(self) -> None:
        """Take nothing new, let what runs finish within the grace, hand the rest back."""
        async with asyncio.TaskGroup() as drains:
            for consumer in self._consumers:
                drains.create_task(self._end(consumer))
            if self._ending:
                await asyncio.wait(self._ending)

    def stop(self) -> None:
        """Cancel what still serves."""
        for task in self._serving.values():
            task.cancel()

    async def _end(self, consumer: Consumer | Partitions) -> None:
        serving = self._serving.pop(consumer)
        try:
            await consumer.drain(self._grace_s)
        finally:
            serving.cancel()
            self._left(consumer.lane)
            self._former = merged([*self._former, *(sample.ended() for sample in consumer.samples)])

    @property
    def _consumers(self) -> tuple[Consumer | Partitions, ...]:
        return tuple(self._serving)

    def live(self) -> str | None:
        """Return which consume loop has stopped, or None; a server that is away stops none."""
        now = time.monotonic()
        for consumer in (each for subscribed in self._consumers for each in subscribed.consumers):
            busy = consumer.in_flight > 0
            if not busy and now - consumer.progressed > STALE_LOOP_S:
                return f"the loop of {consumer.lane.key} has not moved for {now - consumer.progressed:.0f} s"
        return None

    def samples(self) -> list[Sample]:
        """Return how the lanes stand that are read, and what became of messages on all that were."""
        return merged([*self._former, *(sample for consumer in self._consumers for sample in consumer.samples)])

    def counters(self) -> Mapping[tuple[str, str], int]:
        """Return counts since the start by (stream, what): done, retried, dead, expired, lost_lease, handed_back."""
        counts: Counter[tuple[str, str]] = Counter()
        for sample in self.samples():
            counts.update({(sample.stream, what): count for what, count in sample.counts.items()})
        return counts
