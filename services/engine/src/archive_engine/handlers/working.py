"""A worker's life: pull from its lanes with its slots, and say how it is."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from archive_bus import WEIGHTS, Bus, BusUnavailable, Delivery, Fair, Gate, Handler
from archive_contracts.base import Message
from archive_contracts.engine import EngineLeft, EngineRegistered, EngineSpec, GenerateRequested
from archive_contracts.streams import ENGINE_EVENTS, ENGINE_JOBS
from archive_engine.domain.guard import Guard
from archive_engine.domain.health import Health
from archive_engine.domain.ports import Condition, Probe
from archive_engine.handlers.interruption import is_answered
from archive_engine.handlers.watching import Close, Lanes, Watch, directed_lane

SLOTS = 4
"""Requests at once for an engine that does not say."""
NEWS_S = 0.25
"""How soon a change is told; without one a heartbeat is enough."""
DIRECTED_S = 2.0
PORTIONS = 8
"""A read takes as many jobs as this part of the free slots: the rest is for workers who are as free."""


class LaneView(Lanes, Protocol):
    """What a worker asks the server about its lane."""

    async def __call__(self) -> int:
        """Return the jobs that nobody has taken."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model behind the port, whichever kind it is."""

    handlers: Mapping[type[Message], Handler[Any]]
    probe: Probe
    busy: Callable[[], int]
    guard: Guard


class Worker:
    """Pulls for one engine, as ``spec`` describes it; ``hosts`` says that its process runs added engines, too."""

    def __init__(
        self, bus: Bus, spec: EngineSpec, *, instance: str, lane: LaneView, heartbeat_s: float, hosts: bool = False
    ) -> None:
        self._bus = bus
        self._spec = spec
        self._instance = instance
        self._lane = lane
        self._heartbeat_s = heartbeat_s
        self._hosts = hosts
        self._condition = Condition(problem="starting")
        self._health = Health()
        self._slots = spec.slots or SLOTS
        self._said: tuple[object, ...] = ()

    @property
    def models(self) -> list[str]:
        """Ids of the models served."""
        return [card.id for card in self._condition.models]

    async def check(self) -> str | None:
        """Return why the engine cannot take requests, or None."""
        return self._health.problem or None

    @asynccontextmanager
    async def serving(self, engine: Served) -> AsyncGenerator[None, None]:
        """Serve the lanes while the block runs."""
        await self._look(engine)
        self._slots = self._spec.slots or self._condition.slots or SLOTS
        fair = Fair(Gate(self._slots))
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(self._beat(engine))]
            self._subscribe(engine, fair)
            watch = self._watching(self._directed(engine, fair))
            background.append(tasks.create_task(watch.run(engine.guard)))
            try:
                yield
            finally:
                for task in background:
                    task.cancel()
                left = EngineLeft(worker=self._bus.process, pool=self._spec.pool)
                with contextlib.suppress(BusUnavailable):
                    await self._bus.publish(left, to=ENGINE_EVENTS, timeout=1.0)

    def _subscribe(self, engine: Served, fair: Fair) -> None:
        """Take jobs from the lanes of the pool; they share the slots by weight."""
        for priority in ENGINE_JOBS.priorities:
            share = fair.share(WEIGHTS[priority])
            self._bus.subscribe(
                ENGINE_JOBS,
                engine.handlers,
                partition=ENGINE_JOBS.lane(self._spec.pool, priority),
                slots=share,
                concurrency=self._slots,
                prefetch=partial(_portion, share),
            )

    def _directed(self, engine: Served, fair: Fair) -> Callable[[str], Close] | None:
        """Read the lane of this worker alone, and return how to read that of another."""
        if GenerateRequested not in engine.handlers:
            return None
        serve = _with_slot(fair.share(WEIGHTS["interactive"]), engine.handlers[GenerateRequested])
        # Many more than slots may be looked at: those that find none in time go to the pool's lane.
        adopt = directed_lane(self._spec.pool, self._bus, serve, concurrency=self._slots * 8)
        adopt(self._bus.process)
        return adopt

    def _watching(self, adopt: Callable[[str], Close] | None) -> Watch:
        return Watch(self._bus, self._spec, instance=self._instance, lanes=self._lane, adopt=adopt)

    async def _look(self, engine: Served) -> None:
        self._condition = await engine.probe()
        self._health.saw(self._condition.problem)

    async def _beat(self, engine: Served) -> None:
        looked = said_at = 0.0
        while True:
            now = time.monotonic()
            if now - looked >= self._heartbeat_s:
                looked = now
                await self._look(engine)
            beat = await self._news(engine)
            news = (beat.busy, beat.served, beat.waiting, beat.healthy, beat.cooling_s > 0)
            if news != self._said or now - said_at >= self._heartbeat_s:
                self._said, said_at = news, now
                with contextlib.suppress(BusUnavailable):
                    await self._bus.publish(beat, to=ENGINE_EVENTS, timeout=self._heartbeat_s)
            await asyncio.sleep(min(NEWS_S, self._heartbeat_s))

    async def _news(self, engine: Served) -> EngineRegistered:
        spec, reading, busy = self._spec, engine.guard.reading, engine.busy()
        cards = self._condition.models
        if spec.context:
            cards = tuple(card.model_copy(update={"context": spec.context}) for card in cards)
        return EngineRegistered(
            worker=self._bus.process,
            engine=spec.name,
            instance=self._instance,
            pool=spec.pool,
            models=cards,
            capabilities=spec.capabilities,
            slots=self._slots,
            busy=busy,
            # An idle worker's lane is empty but for the moment of a handover: nobody has to be asked.
            waiting=await self._lane() if busy or self._health.problem else 0,
            healthy=not self._health.problem,
            problem=self._health.problem,
            base_url=spec.base_url,
            heartbeat_s=self._heartbeat_s,
            tier=spec.tier,
            tags=spec.tags,
            cost_in=spec.cost_in,
            cost_out=spec.cost_out,
            requests_per_minute=spec.requests_per_minute,
            tokens_per_minute=spec.tokens_per_minute,
            served=reading.served,
            failed=reading.failed,
            written=reading.written,
            service_s=reading.service_s,
            ttft_s=reading.ttft_s,
            error_rate=reading.error_rate,
            cooling_s=engine.guard.rest_s(time.monotonic()),
            directed=GenerateRequested in engine.handlers,
            hosts=self._hosts,
        )


def _portion(gate: Gate) -> int:
    """Return how many jobs a read takes: few reads under load, and a burst still spreads over all workers."""
    return max(1, gate.spare // PORTIONS)


def _with_slot(gate: Gate, handler: Handler[GenerateRequested]) -> Handler[GenerateRequested]:
    """Return a handler that waits for a slot as long as the job may, and else gives the job to the pool's lane."""

    async def serve(delivery: Delivery[GenerateRequested]) -> None:
        job = delivery.message
        patience = job.directed_until / 1000 - time.time() if job.directed_until else DIRECTED_S
        try:
            async with asyncio.timeout(max(0.0, patience)):
                await gate.enter()
        except TimeoutError:
            if not (is_answered(delivery) or await delivery.interrupted()):
                spilled = job.model_copy(update={"worker": "", "directed_until": 0})
                lane = ENGINE_JOBS.lane(job.pool, job.request.priority)
                await delivery.publish(spilled, to=ENGINE_JOBS, partition=lane, reply=True)
                return
            await gate.enter()
        try:
            await handler(delivery)
        finally:
            gate.leave()

    return serve
