"""Requests wait here for their turn when their lane has enough to do."""

import asyncio
from collections.abc import Callable, Sequence

from archive_contracts.base import Problem
from archive_contracts.chat import Priority
from archive_contracts.engine import Target
from archive_router.domain.admission import Queued, refusal, room
from archive_router.domain.fair import FairQueue
from archive_router.domain.lanes import Lanes
from archive_router.domain.route import no_engine

Turn = asyncio.Future[bool]
"""True when the turn has come, False when the lane has gone."""


class Turns:
    """One queue for each lane, up to ``limit`` requests each. ``clock`` is the one that the lanes were heard by."""

    def __init__(self, lanes: Lanes, *, clock: Callable[[], float], limit: int) -> None:
        self._lanes = lanes
        self._clock = clock
        self._limit = limit
        self._queues: dict[str, FairQueue[Turn]] = {}

    async def take(
        self, targets: Sequence[Target], *, tenant: str, priority: Priority, budget_s: float | None
    ) -> Target | Problem | None:
        """Return the first target whose lane can serve in time, once it may have the job; else why none can.

        None: the lane has gone while the request waited; the choice has to be made anew.
        """
        why: Problem = no_engine()
        for index, target in enumerate(targets):
            found = self._refusal(target.pool, tenant, priority, budget_s)
            if found is None:
                return await self._turn(target, tenant, priority, budget_s)
            why = found if index == 0 else why
        return why

    def move(self) -> None:
        """Give turns to those who wait, as far as their lanes have room now."""
        now = self._clock()
        for pool, queue in list(self._queues.items()):
            lane = self._lanes.pool(pool, now)
            while len(queue) and (lane is None or room(lane) > 0):
                turn = queue.pop()
                if turn and not turn.done():
                    turn.set_result(lane is not None)
                    if lane:
                        self._lanes.sent(pool)
            if not len(queue):
                del self._queues[pool]

    def waiting(self, pool: str) -> int:
        """Return how many requests wait for a lane."""
        return len(self._queues[pool]) if pool in self._queues else 0

    def _refusal(self, pool: str, tenant: str, priority: Priority, budget_s: float | None) -> Problem | None:
        lane = self._lanes.pool(pool, self._clock())
        if lane is None:
            return no_engine()
        queue = self._queues.get(pool)
        if queue is None:
            return refusal(lane, Queued(), budget_s=budget_s, full=False)
        queued = Queued(len(queue), queue.ahead(tenant, priority))
        return refusal(lane, queued, budget_s=budget_s, full=not queue.has_room(tenant))

    async def _turn(
        self, target: Target, tenant: str, priority: Priority, budget_s: float | None
    ) -> Target | Problem | None:
        lane = self._lanes.pool(target.pool, self._clock())
        if lane and target.pool not in self._queues and room(lane) > 0:
            self._lanes.sent(target.pool, target.worker)
            return target
        queue = self._queues.setdefault(target.pool, FairQueue[Turn](limit=self._limit))
        turn: Turn = asyncio.get_running_loop().create_future()
        ticket = queue.push(turn, tenant=tenant, priority=priority)
        try:
            async with asyncio.timeout(budget_s):
                there = await turn
        except TimeoutError:
            return _LATE
        finally:
            queue.withdraw(ticket)
        # The worker it was meant for had room then; now any may take it.
        return target.model_copy(update={"worker": "", "instance": ""}) if there else None


_LATE = Problem(
    code="engine_overloaded",
    message="The request waited for an engine until its deadline.",
    next_step="Give the request more time, or add engines to the pool.",
    status=429,
    retry_after_s=2.0,
)
