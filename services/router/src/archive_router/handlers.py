"""A request comes in; a job for a lane, or a reason why not, goes out."""

from collections.abc import Callable
from typing import Protocol

import anyio

from archive_bus import Delivery
from archive_contracts.base import Problem
from archive_contracts.chat import ChatRequested
from archive_contracts.engine import EmbedRequested, EngineLeft, EngineRegistered, GenerateRequested
from archive_contracts.streams import ENGINE_JOBS
from archive_router.domain.lanes import Lanes
from archive_router.domain.route import Decision, Demand, decide

HEARING_S = 5.0
"""A router that has just started may not have heard of the engines yet."""


class Preference(Protocol):
    """What an operator prefers."""

    def __call__(self) -> str:
        """Return the pool that serves requests which leave the choice open, or nothing."""
        ...


class Routing:
    """Sends each request to a lane."""

    def __init__(self, *, preferred_pool: Preference, clock: Callable[[], float]) -> None:
        self.lanes = Lanes()
        self._preferred_pool = preferred_pool
        self._clock = clock
        self._began = clock()

    def hear(self, event: EngineRegistered | EngineLeft) -> None:
        """Take in what an engine worker says of itself."""
        now = self._clock()
        self.lanes.hear(event, now=now)
        self.lanes.forget(now)

    async def chat(self, delivery: Delivery[ChatRequested]) -> None:
        """Route a chat or a completion."""
        request = delivery.message
        demand = Demand(model=request.model, needs=frozenset(request.needs), prompt_chars=request.prompt_chars)
        decision = await self._decide(demand)
        if isinstance(decision, Problem):
            await delivery.fail(decision)
            return
        job = GenerateRequested(
            request=request,
            request_id=delivery.envelope.id,
            pool=decision.chosen.pool,
            model=decision.chosen.model,
            fallbacks=decision.fallbacks,
        )
        await delivery.publish(job, to=ENGINE_JOBS, partition=job.pool, reply=True)

    async def embed(self, delivery: Delivery[EmbedRequested]) -> None:
        """Route texts to be embedded."""
        request = delivery.message
        decision = await self._decide(Demand(model=request.model, needs=frozenset({"embedding"})))
        if isinstance(decision, Problem):
            await delivery.fail(decision)
            return
        job = request.model_copy(update={"model": decision.chosen.model})
        await delivery.publish(job, to=ENGINE_JOBS, partition=decision.chosen.pool, reply=True)

    async def _decide(self, demand: Demand) -> Decision | Problem:
        while True:
            now = self._clock()
            decision = decide(demand, self.lanes.at(now), preferred_pool=self._preferred_pool())
            if isinstance(decision, Decision) or now - self._began > HEARING_S:
                return decision
            await anyio.sleep(0.1)
