"""A request comes in; a job for a lane, or a reason why not, goes out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import anyio

from archive_bus import Delivery
from archive_contracts.base import Problem
from archive_contracts.chat import ChatRequested, Priority
from archive_contracts.engine import EmbedRequested, EngineLeft, EngineRegistered, GenerateRequested, Target
from archive_contracts.streams import ENGINE_JOBS
from archive_router.domain.affinity import marks_of
from archive_router.domain.demand import Demand
from archive_router.domain.desertion import Desertion
from archive_router.domain.lanes import Lanes, LaneView
from archive_router.domain.route import Decision, Policy, decide, no_engine
from archive_router.handlers.turns import Turns

HEARING_S = 5.0
"""A router that has just started may not have heard of the engines yet."""
DEAF_S = 2.0
"""A router that hears says so every second; after longer than this it could not hear who spoke in between."""
NO_SESSION = "default"
MOST_CHOICES = 3
"""Lanes that may vanish while a request waits for them."""


class Learner(Protocol):
    """Takes over what this router has learned, for its replicas."""

    def note(self, marks: tuple[str, ...], worker: str) -> None:
        """Take in that a worker reads a prompt with these beginnings."""
        ...


class Operator(Protocol):
    """What an operator decided."""

    def __call__(self, lanes: Lanes, policy: Policy) -> Policy:
        """Return the policy in force, and tell the lanes of pools that may sleep."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``queue`` requests may wait for a lane here; a directed job waits ``directed_s`` for its worker."""

    queue: int = 256
    directed_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """``steady`` does not go back; ``wall`` is seconds since the epoch, in which deadlines are given."""

    steady: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class Routing:
    """Sends each request to a lane."""

    def __init__(
        self,
        policy: Policy,
        *,
        operator: Operator,
        learner: Learner,
        limits: Limits | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._clocks = clocks or Clocks()
        self.lanes = Lanes()
        self.turns = Turns(self.lanes, clock=self._clocks.steady, limit=self._limits.queue)
        self._policy = replace(policy, sent_to=self.lanes.sent_to)
        self._operator = operator
        self._learner = learner
        self._began = self._heard_at = self._clocks.steady()
        self._desertion = Desertion()

    def hear(self, event: EngineRegistered | EngineLeft) -> None:
        """Take in what an engine worker says of itself."""
        now = self._clocks.steady()
        # Also a router that was never asked must know which pools may sleep.
        self._policy = self._operator(self.lanes, self._policy)
        if isinstance(event, EngineRegistered):
            self._desertion.hear(event, now=now)
        self.lanes.hear(event, now=now)
        self.lanes.forget(now)
        self.turns.move()

    def deserted(self) -> list[str]:
        """Return the pools whose last worker is gone: their lanes have to be cleared by somebody else.

        A pool is named until the lanes hear that it is ``cleared``: in an outage nobody can be told.
        """
        return self.lanes.deserted(self._clocks.steady())

    def stranded(self) -> list[str]:
        """Return the lanes that nobody is left to clear, each once: whoever waits for their jobs has to be told."""
        now = self._clocks.steady()
        return self._desertion.lanes(now, anybody=bool(self.lanes.living(now)), asleep=self.lanes.asleep())

    def untold(self) -> None:
        """Take in that the callers of stranded jobs could not all be told."""
        self._desertion.untold()

    def hearing(self) -> None:
        """Take in that engines can be heard: what went unheard, as in an outage, does not count as silence."""
        now = self._clocks.steady()
        self._take_in_deafness(now)
        self._heard_at = now

    def known(self) -> Sequence[LaneView]:
        """Return the lanes to choose among."""
        self._policy = self._operator(self.lanes, self._policy)
        now = self._clocks.steady()
        self._take_in_deafness(now)
        return self.lanes.at(now)

    async def chat(self, delivery: Delivery[ChatRequested]) -> None:
        """Route a chat, a completion or a reranking."""
        if delivery.told:
            # A router that died behind sending the job leaves the request twice, and would now choose another lane.
            return
        request = delivery.message
        demand = Demand(
            model=request.model,
            needs=frozenset(request.needs),
            prompt_chars=request.prompt_chars,
            session="" if request.session == NO_SESSION else request.session,
            marks=marks_of(request.body) if self.lanes.directed(self._clocks.steady()) else (),
        )
        with delivery.wanted():
            placed = await self._place(delivery, demand, request.priority, request.user_turn)
            if placed is None:
                return
            decision, target = placed
            await self._send(delivery, decision, target)
            if target.worker and demand.marks:
                self._policy.prefixes.note(demand.marks, target.worker)
                self._learner.note(demand.marks, target.worker)

    async def embed(self, delivery: Delivery[EmbedRequested]) -> None:
        """Route texts to be embedded."""
        request = delivery.message
        demand = Demand(model=request.model, needs=frozenset({"embedding"}))
        with delivery.wanted():
            placed = await self._place(delivery, demand, "interactive")
            if placed:
                _, target = placed
                job = request.model_copy(update={"model": target.model})
                await delivery.publish(job, to=ENGINE_JOBS, partition=target.pool, reply=True)

    async def _place(
        self, delivery: Delivery[Any], demand: Demand, priority: Priority, user_turn: str = ""
    ) -> tuple[Decision, Target] | None:
        """Return the decision and the target whose turn has come; None after the caller was told why not."""
        problem = no_engine()
        for _ in range(MOST_CHOICES):
            decision = await self._decide(demand, user_turn)
            if isinstance(decision, Problem):
                problem = decision
                break
            taken = await self.turns.take(
                _one_a_pool(decision),
                tenant=delivery.envelope.tenant,
                priority=priority,
                budget_s=self._budget_s(delivery.envelope.deadline),
            )
            if isinstance(taken, Target):
                return decision, taken
            if taken:
                problem = taken
                break
        await delivery.fail(problem)
        return None

    async def _send(self, delivery: Delivery[ChatRequested], decision: Decision, target: Target) -> None:
        job = GenerateRequested(
            request=delivery.message,
            request_id=delivery.envelope.id,
            pool=target.pool,
            model=target.model,
            fallbacks=tuple(other for other in (decision.chosen, *decision.fallbacks) if _other(other, target)),
            worker=target.worker,
            directed_until=int((self._clocks.wall() + self._limits.directed_s) * 1000) if target.worker else 0,
            parameters=decision.parameters,
        )
        await delivery.publish(job, to=ENGINE_JOBS, partition=lane_of(target, delivery.message.priority), reply=True)

    async def _decide(self, demand: Demand, user_turn: str) -> Decision | Problem:
        while True:
            decision = decide(demand, self.known(), self._policy, user_turn=user_turn)
            if isinstance(decision, Decision) or self._clocks.steady() - self._began > HEARING_S:
                return decision
            await anyio.sleep(0.1)

    def _take_in_deafness(self, now: float) -> None:
        if now - self._heard_at > DEAF_S:
            self._desertion.deaf_until(now)
            self.lanes.deaf_until(now, since=self._heard_at)

    def _budget_s(self, deadline: int) -> float | None:
        return deadline / 1000 - self._clocks.wall() if deadline else None


def lane_of(target: Target, priority: Priority) -> str:
    """Return the partition of a target: its pool's lane for the priority, or the lane of one worker."""
    return f"{target.pool}:{target.worker}" if target.worker else ENGINE_JOBS.lane(target.pool, priority)


def _one_a_pool(decision: Decision) -> list[Target]:
    """Return where the request may start: workers named as fallbacks are for when their pool's lane has failed."""
    pools = {target.pool: target for target in reversed(decision.fallbacks) if not target.worker}
    pools.pop(decision.chosen.pool, None)
    return [decision.chosen, *reversed(pools.values())]


def _other(target: Target, taken: Target) -> bool:
    return target.pool != taken.pool or bool(target.worker and target.worker != taken.worker)
