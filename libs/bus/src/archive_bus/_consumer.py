"""What a process holds of a lane: reads, leases, claims, and the hand-back at its end."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any

from archive_bus._adrift import Adrift
from archive_bus._backlog import Backlog
from archive_bus._crew import Crew
from archive_bus._errors import BusUnavailable, LeaseLost
from archive_bus._gate import Gate
from archive_bus._handling import Handling, Work
from archive_bus._held import Held
from archive_bus._lease import clock
from archive_bus._leases import RENEW_SHARE, WATCH_SHARE, Leases
from archive_bus._leaving import Leaving
from archive_bus._metrics import Sample
from archive_bus._settlers import Settlers
from archive_bus._transport import Acked, Entry, Lane, Prefetch, Runs, Starts, Transport
from archive_bus._trimming import TRIM_S, trimmed_by_consumer

log = logging.getLogger(__name__)
REAP_S = 30.0
LOOK_S = 5.0
CLAIM_S = 0.75
"""How often a consumer looks for what others gave back: with its jitter within a second."""
ACK_LINGER_S = 0.01
"""How long an acknowledgement waits for others while there are places: one exchange and one fsync for all of them."""


class Consumer:
    """Handles the entries of one lane, at most ``concurrency`` at a time."""

    def __init__(self, *, lane: Lane, transport: Transport, work: Work, gate: Gate, concurrency: int) -> None:
        self.lane = lane
        self._lease_s = lane.stream.lease.total_seconds()
        self.progressed = time.monotonic()
        self._transport = transport
        self._concurrency = concurrency
        self._gate = gate
        self._settlers = Settlers(lane, transport, then=self, linger=self._ack_linger_s)
        self._handling = Handling(lane, transport, work, gate=self._gate, settlers=self._settlers)
        self._crew = Crew[Held](self._begin)
        self._held: dict[str, Held] = {}
        self._adrift = Adrift(lane, transport)
        self._leases = Leases(lane, transport, self._held, self._adrift)
        self._leaving = Leaving(
            lane,
            transport,
            held=self._held,
            adrift=self._adrift,
            settlers=self._settlers,
            counts=self.counts,
        )
        self._turn = asyncio.Lock()
        self.backlog: Backlog | None = None
        self._draining = False
        self._feeding = False
        self._pump: asyncio.Task[None] | None = None

    @property
    def consumers(self) -> Sequence["Consumer"]:
        """Whose loops have to move for this one to be alive."""
        return (self,)

    @property
    def counts(self) -> Counter[str]:
        """What became of messages since the start."""
        return self._handling.counts

    @property
    def samples(self) -> Sequence[Sample]:
        """How the lane stands, and what became of its messages."""
        return (
            Sample(
                stream=self.lane.stream.name,
                partition=self.lane.partition,
                backlog=self.backlog,
                counts=self.counts,
                redelivered=self.counts["redelivered"],
                durations=self._handling.durations,
                in_flight=self.in_flight,
                still_s=self.still_s,
            ),
        )

    @property
    def still_s(self) -> float:
        """For how long the loop that reads has not moved; waiting for a place is no standstill."""
        return 0.0 if self._feeding else time.monotonic() - self.progressed

    @property
    def in_flight(self) -> int:
        """Messages whose handler runs."""
        return sum(held.begun for held in self._held.values())

    async def serve(self, *, prefetch: Prefetch) -> None:
        """Read, claim, renew and trim until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._settlers.run_in(tasks)
            self._crew.run_in(tasks)
            self._tasks = tasks
            self._pump = tasks.create_task(self._read(prefetch))
            tasks.create_task(self._every(min(CLAIM_S, self._lease_s / 5), self._claim))
            tasks.create_task(self._every(min(1.0, self._lease_s / 5), self._adrift.hand_back))
            tasks.create_task(self._every(self._lease_s * RENEW_SHARE, self._leases.renew_all))
            tasks.create_task(self._every(self._lease_s * WATCH_SHARE, self._leases.expire))
            if trimmed_by_consumer(self.lane.stream):
                tasks.create_task(self._every(TRIM_S, self._trim))
            tasks.create_task(self._every(REAP_S, partial(self._transport.reap, self.lane)))
            tasks.create_task(self._every(LOOK_S, self._look))

    async def _read(self, prefetch: Prefetch) -> None:
        await self._transport.pump(self.lane, self._feed, prefetch=prefetch)

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, let what runs finish within the grace, hand the rest back."""
        self._draining = True
        if self._pump:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        await self._leaving.leave(grace_s)

    @property
    def untold(self) -> Sequence[Adrift]:
        """What the server is still to be told of once this is over."""
        return [self._adrift] if self._adrift.ids else []

    async def _hand_back(self, runs: Runs) -> None:
        if not runs:
            return
        try:
            await self._transport.release(self.lane, runs)
            self.counts["handed_back"] += len(runs)
        except BusUnavailable:
            log.warning("cannot hand %d messages back to %s: they resume after their lease", len(runs), self.lane.key)

    async def _every(self, period_s: float, act: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(period_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, hides nothing
            try:
                await act()
            except BusUnavailable as error:
                log.warning("%s: %s; trying again", self.lane.key, error)

    async def _claim(self) -> None:
        # What others have left waits for a place here, as what is new does: with full hands somebody idle takes it. But
        # a backlog fills all hands for as long as it lasts, so it has its turn between two reads.
        async with self._turn:
            await self._gate.free()
            if not self._draining:
                free = max(1, self._concurrency - len(self._held))
                # After a stall longer than the lease some of them are in hand here already.
                await self._take(await self._transport.claim(self.lane, count=free))

    async def renew(self, entries: Sequence[Held]) -> None:
        """Renew the leases of what is still owned; lose the rest."""
        await self._leases.renew(entries)

    def lost(self, held: Held) -> None:
        """Take note of a lost lease."""
        self.counts["lost_lease"] += 1
        log.warning("%s: lost the lease of %s", self.lane.key, held.entry.id)
        if not held.begun:
            # When it comes again, it comes as something new.
            self._forget(held)

    def _forget(self, held: Held) -> None:
        if self._held.get(held.entry.id) is held:
            del self._held[held.entry.id]

    def refused(self) -> None:
        """Take note of an output that came too late."""
        self.counts["refused"] += 1

    async def _trim(self) -> None:
        await self._transport.trim(self.lane.stream, self.lane.partition)

    async def _look(self) -> None:
        """See how the group stands, for whoever asks; a group that is not there has nothing waiting."""
        self.backlog = await self._transport.backlog(self.lane)

    def _ack_linger_s(self) -> float:
        """Return for how long acknowledgements may wait for others: not at all when somebody may want their places."""
        return ACK_LINGER_S if 2 * self._gate.spare >= self._concurrency and not self._draining else 0.0

    async def _feed(self, entries: Sequence[Entry]) -> None:
        self._feeding = True
        try:
            await self._take(entries)
            if not self._draining:
                if not self._gate.room:
                    self._settlers.ack.hurry()
                async with self._turn:
                    await self._gate.free()
        finally:
            self._feeding = False
            self.progressed = time.monotonic()

    async def _take(self, entries: Sequence[Entry]) -> None:
        if self._draining:
            await self._hand_back({entry.id: "" for entry in entries if entry.id not in self._held})
            return
        taken = [Held(entry, self, lease_s=self._lease_s) for entry in self._fresh(entries)]
        for held in taken:
            self._held[held.entry.id] = held
        for place, held in enumerate(taken):
            if not self._gate.try_enter():
                self._settlers.ack.hurry()
                if not await self._gate.admit():
                    await self._let_go(taken[place:])
                    break
            self._crew.put(held)

    def _fresh(self, entries: Sequence[Entry]) -> list[Entry]:
        """Leave out what is in hand, which a group that was made anew delivers again, and what is still adrift."""
        known = self._held.keys() | self._adrift.ids
        return [entry for entry in entries if entry.id not in known]

    async def _let_go(self, waiting: Sequence[Held]) -> None:
        """Give others what finds no place here: what waits behind the first of them would wait for longer."""
        for held in waiting:
            self._forget(held)
        await self._hand_back({held.entry.id: "" for held in waiting if not (self._draining or held.lost)})

    def _begin(self, held: Held, task: "asyncio.Task[None] | None") -> Coroutine[Any, Any, None] | None:
        """Begin an entry in a task; what is returned is to be awaited at once."""
        if held.lost:
            self._leave([held])
            return None
        if self._draining:
            self._gate.leave()  # the drain hands it back
            return None
        held.begun = True
        rest = self._handling.begin(held)
        return rest and self._finish(held, rest, task)

    async def _finish(self, held: Held, rest: Coroutine[Any, Any, None], task: "asyncio.Task[None] | None") -> None:
        held.task = task
        if held.lost and task:
            task.cancel()  # it was lost before it had one
        try:
            await rest
        except asyncio.CancelledError:
            if not held.lost:
                raise
            self._spare(held)
        except LeaseLost:
            held.task = None  # it has ended by itself, and may go on with another message
            held.lose()
            self._spare(held)
        except BusUnavailable as error:
            await self._postpone(held, error)
        finally:
            held.task = None
            if not held.acking:
                self._leave([held])

    def _spare(self, held: Held) -> None:
        """Have a run taken back whose handler never began."""
        if not held.ran:
            self._adrift.add(held)

    def starts(self, held: Held) -> None:
        """Have a run noted, sooner or later."""
        held.starting = self._settlers.start.put(held)
        held.starting.add_done_callback(partial(self._noted, held))

    def _noted(self, held: Held, noted: "asyncio.Future[Starts]") -> None:
        if not noted.cancelled() and noted.exception() and held.begun and not (held.settled or held.lost):
            held.starting = None
            self.waits(held)

    def waits(self, held: Held) -> None:
        """Have a run noted soon."""
        self._settlers.beginnings.add(held)

    def acked(self, settled: Collection[Held], outcomes: Sequence[Acked]) -> None:
        """Let go of what is over here."""
        counts, now, done = self.counts, clock(), Acked.DONE
        for held, outcome in zip(settled, outcomes, strict=True):
            # What was settled before, while nobody else could have it, was settled by a first copy of this command.
            held.over = outcome is done or (outcome is Acked.BEFORE and now < held.until)
            if held.ran:
                counts["done" if held.over else "lost_lease"] += 1
            if outcome is Acked.TAKEN:
                self._adrift.add(held)  # another consumer has it, and hears that its run took no process down
        self._leave(settled)

    def unacked(self, settled: Collection[Held], error: BusUnavailable) -> None:
        """See to entries that are done, and the server could not be told."""
        for held in settled:
            self._tasks.create_task(self._unfinished(held, error))

    async def _unfinished(self, held: Held, error: BusUnavailable) -> None:
        await self._postpone(held, error)
        self._leave([held])

    def _leave(self, left: Collection[Held]) -> None:
        """Let go of what is over here, and let others in."""
        in_hand = self._held
        for held in left:
            held.begun = False
            entry_id = held.entry.id
            if in_hand.get(entry_id) is held:
                del in_hand[entry_id]
        self._gate.leave(len(left))

    async def _postpone(self, held: Held, error: BusUnavailable) -> None:
        log.warning("%s: %s is not finished and will run again: %s", self.lane.key, held.entry.id, error)
        try:
            await self._handling.postpone(held)
        except BusUnavailable:
            self._adrift.add(held)  # the outage goes on: it is handed back, and its start taken back, after it
