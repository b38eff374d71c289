"""A worker among others: it takes over from who is gone, and rests when its server told another to."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Protocol

from archive_bus import Bus, Handler, Received
from archive_contracts.base import Message
from archive_contracts.engine import EngineLeft, EngineRegistered, EngineSpec, GenerateRequested, LaneDeserted
from archive_contracts.streams import ENGINE_EVENTS, ENGINE_JOBS
from archive_engine.domain.guard import Guard
from archive_engine.domain.peers import ABANDONED_S, Peers
from archive_engine.domain.pools import Pools
from archive_engine.handlers.interruption import kept_by
from archive_engine.handlers.relaying import Relay

ADOPTED_S = 45.0
"""How long an abandoned lane is read: three leases, within which all of its jobs have come."""
LATE_S = 10.0
"""An event older than that is read late: those behind it may tell of who seems silent."""
LEAST_REST_S = 0.5
LOOK_S = 0.25

Close = Callable[[], Awaitable[None]]


class Lanes(Protocol):
    """What a watch asks the server."""

    async def drop(self, partition: str) -> None:
        """Remove the lane of a worker that is gone, when it is empty."""
        ...


class Watch:
    """Follows the events of all engines on behalf of one worker.

    ``adopt`` begins to read the lane of a gone worker of the same pool, and returns how to stop; None for an engine
    that has no lanes of single workers.
    """

    def __init__(
        self, bus: Bus, spec: EngineSpec, *, instance: str, lanes: Lanes, adopt: Callable[[str], Close] | None
    ) -> None:
        self._bus = bus
        self._pool = spec.pool
        self._instance = instance
        self._lanes = lanes
        self._adopt_own = adopt
        self._peers = Peers(worker=bus.process, pool=spec.pool)
        self._pools = Pools()
        self._relay = Relay(engine=spec.name, living=self._living, kept=kept_by(bus))
        self._relaying: set[str] = set()

    async def run(self, guard: Guard) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as adoptions:
            async for received in self._bus.follow(ENGINE_EVENTS, since=timedelta(seconds=ABANDONED_S)):
                if received is None and not await self._bus.reachable():
                    continue
                self._peers.hearing(time.time())
                if received:
                    self._hear(received, guard)
                    if pool := self._deserted(received):
                        adoptions.create_task(self._relay_from(pool))
                if self._adopt_own and not (received and time.time() - told_at(received) > LATE_S):
                    for worker in self._peers.orphans(time.time()):
                        adoptions.create_task(self._adopt(worker, self._adopt_own))

    def _hear(self, received: Received[Message], guard: Guard) -> None:
        event, at = received.message, told_at(received)
        if isinstance(event, EngineRegistered | EngineLeft):
            self._pools.hear(event, at=at)
            self._peers.hear(event, at=at)
            self._rest_too(event, guard)

    def _deserted(self, received: Received[Message]) -> str:
        """Return the pool whose lane has to be cleared now; an old word may no longer hold."""
        event = received.message
        if not isinstance(event, LaneDeserted) or event.pool in self._relaying or event.pool == self._pool:
            return ""
        fresh = time.time() - told_at(received) < ADOPTED_S
        return event.pool if fresh and event.pool not in self._living() else ""

    def _rest_too(self, event: EngineRegistered | EngineLeft, guard: Guard) -> None:
        if not isinstance(event, EngineRegistered) or event.worker == self._bus.process:
            return
        now = time.monotonic()
        if event.instance == self._instance and event.cooling_s > LEAST_REST_S and not guard.rest_s(now):
            guard.rest(now, rest_s=event.cooling_s)

    async def _adopt(self, worker: str, adopt: Callable[[str], Close]) -> None:
        close = adopt(worker)
        await asyncio.sleep(ADOPTED_S)
        await close()
        if not self._peers.knows(worker):
            await self._lanes.drop(f"{self._pool}:{worker}")

    async def _relay_from(self, pool: str) -> None:
        """Clear the lanes of a pool that nobody serves, until somebody does or nothing can be left there."""
        self._relaying.add(pool)
        lanes = self._pools.lanes(pool)
        closes = [self._bus.subscribe(ENGINE_JOBS, self._relay.handlers, partition=lane).close for lane in lanes]
        until = time.monotonic() + ADOPTED_S
        while time.monotonic() < until and pool not in self._living():  # noqa: ASYNC110 - silence is no event
            await asyncio.sleep(LOOK_S)
        for close in closes:
            await close()
        self._relaying.discard(pool)

    def _living(self) -> frozenset[str]:
        return self._pools.living(time.time())


def told_at(received: Received[Message]) -> float:
    """Return when a message was published, in seconds since the epoch, by the server's clock."""
    return int(received.entry_id.partition("-")[0]) / 1000


def directed_lane(pool: str, bus: Bus, serve: Handler[Any], *, concurrency: int) -> Callable[[str], Close]:
    """Return how to begin to read the lane of one worker of a pool."""

    def adopt(worker: str) -> Close:
        handlers: dict[type[Message], Handler[Any]] = {GenerateRequested: serve}
        return bus.subscribe(ENGINE_JOBS, handlers, partition=f"{pool}:{worker}", concurrency=concurrency).close

    return adopt
