"""What a process handles: its subscriptions, their ends, and what became of their messages."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from archive_bus._adrift import Adrift
from archive_bus._consumer import Consumer
from archive_bus._errors import BusUnavailable
from archive_bus._metrics import Sample, merged
from archive_bus._partitions import Partitions
from archive_bus._transport import Lane, Prefetch

STALE_LOOP_S = 30.0
TELL_S = 1.0


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
        self._ending: dict[Consumer | Partitions, asyncio.Task[None]] = {}
        self._former: list[Sample] = []
        self._untold: list[Adrift] = []

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Let the task group own the tasks; before the first subscription."""
        self._tasks = tasks

    def begin(self, consumer: Consumer | Partitions, *, prefetch: Prefetch) -> Subscription:
        """Serve until closed or drained."""
        for adrift in self._untold:
            if adrift.lane == consumer.lane:
                # What this process owns there is another subscription's from now on.
                adrift.forsake()
        self._serving[consumer] = self._tasks.create_task(consumer.serve(prefetch=prefetch))

        async def end() -> None:
            # In a task of its own: it goes on when its caller is cancelled, and the end of the bus waits for it.
            await asyncio.shield(self._ended(consumer, self._tasks))

        return Subscription(end)

    async def drain(self) -> None:
        """Take nothing new, let what runs finish within the grace, hand the rest back."""
        async with asyncio.TaskGroup() as drains:
            if ending := [self._ended(consumer, drains) for consumer in self._consumers]:
                await asyncio.wait(ending)

    def stop(self) -> None:
        """Cancel what still serves."""
        for task in self._serving.values():
            task.cancel()

    def _ended(self, consumer: Consumer | Partitions, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Begin the end of a subscription, in a task of these, unless it has begun."""
        if consumer not in self._ending:
            self._ending[consumer] = tasks.create_task(self._end(consumer))
        return self._ending[consumer]

    async def _end(self, consumer: Consumer | Partitions) -> None:
        try:
            await consumer.drain(self._grace_s)
        finally:
            self._serving.pop(consumer).cancel()
            self._ending.pop(consumer, None)
            self._left(consumer.lane)
            self._former = merged([*self._former, *(sample.ended() for sample in consumer.samples)])
            again = any(other.lane == consumer.lane for other in self._serving)
            for adrift in consumer.untold:
                if again:
                    adrift.forsake()
                self._untold.append(adrift)

    async def keep_telling(self) -> None:
        """Tell until cancelled."""
        while True:
            await asyncio.sleep(TELL_S)
            await self.tell()

    async def tell(self) -> None:
        """Tell the server what it could not be told while subscriptions ended, as far as it can be told."""
        for adrift in tuple(self._untold):
            with contextlib.suppress(BusUnavailable):
                await adrift.hand_back()
            if not adrift.ids:
                self._untold.remove(adrift)

    @property
    def _consumers(self) -> tuple[Consumer | Partitions, ...]:
        return tuple(self._serving)

    def live(self) -> str | None:
        """Return which consume loop has stopped, or None; a server that is away stops none."""
        for consumer in (each for subscribed in self._consumers for each in subscribed.consumers):
            if not consumer.in_flight and (still_s := consumer.still_s) > STALE_LOOP_S:
                return f"the loop of {consumer.lane.key} has not moved for {still_s:.0f} s"
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
