"""What is known of the lanes: a fold of the engines' heartbeats and of what an operator wrote down about pools."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archive_contracts.chat import Capability
from archive_contracts.engine import EngineLeft, EngineRegistered, Tier

MISSED_BEATS = 3
"""Heartbeats that may be missing before a worker counts as gone."""
FORGOTTEN_AFTER = 20
"""Heartbeats after which a silent worker is dropped."""
ABANDONED_S = 300.0
"""A pool that was silent for longer left no job that is still within its deadline."""
NEVER = float("-inf")
TIERS: tuple[Tier, ...] = ("fast", "balanced", "powerful", "expert")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlan:
    """A pool as an operator describes it, for the time when no worker does.

    ``scale_to_zero`` lets its lane keep jobs while no worker is alive, up to their deadlines; ``start_s`` is what a
    first worker needs to come up.
    """

    pool: str
    models: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ("chat", "completion")
    context: int = 0
    tier: Tier = "balanced"
    tags: tuple[str, ...] = ()
    scale_to_zero: bool = False
    start_s: float = 60.0


@dataclass(slots=True, kw_only=True)
class LaneView:
    """A pool as its living workers describe it; what the router sent since their last heartbeat is counted on top.

    Capabilities and models are those that every healthy worker has, since any of them may take a job; the context is
    the smallest. Times are moving averages over the healthy workers, in seconds.
    """

    pool: str
    workers: tuple[EngineRegistered, ...] = ()
    healthy: tuple[EngineRegistered, ...] = ()
    capabilities: frozenset[Capability] = frozenset()
    models: tuple[str, ...] = ()
    context: int = 0
    tier: Tier = "balanced"
    tags: frozenset[str] = frozenset()
    slots: int = 0
    busy: int = 0
    waiting: int = 0
    service_s: float = 0.0
    ttft_s: float = 0.0
    error_rate: float = 0.0
    cost: float = 0.0
    cooling_s: float = 0.0
    asleep: bool = False
    start_s: float = 0.0
    sent: int = 0
    directed: bool = False

    @property
    def load(self) -> float:
        """Jobs in and before the slots, in shares of the slots; 1 and more means that a new one waits."""
        return (self.busy + self.waiting + self.sent) / self.slots if self.slots else 1.0


class Lanes:
    """The living workers by pool. Times are seconds on any clock that does not go back."""

    def __init__(self) -> None:
        self._workers: dict[str, tuple[EngineRegistered, float]] = {}
        self._plans: dict[str, PoolPlan] = {}
        self._sent: Counter[str] = Counter()
        self._sent_to: Counter[str] = Counter()
        self._views: dict[str, LaneView] = {}
        self._fresh_until = NEVER
        self._heard_of: dict[str, float] = {}
        self._cleared: set[str] = set()
        self._unheard = NEVER

    def plan(self, plans: Iterable[PoolPlan]) -> None:
        """Take over what the operator wrote down about pools."""
        wanted = {plan.pool: plan for plan in plans}
        if wanted != self._plans:
            self._plans = wanted
            self._fresh_until = NEVER

    def hear(self, event: EngineRegistered | EngineLeft, *, now: float) -> None:
        """Take in one event."""
        self._heard_of[event.pool] = now
        if isinstance(event, EngineLeft):
            if self._workers.pop(event.worker, None):
                self._fresh_until = NEVER
            del self._sent_to[event.worker]
            return
        known = self._workers.get(event.worker)
        if not event.models and known:
            # A server that is away cannot say what it serves; its models must not look as if they had never been.
            event = event.model_copy(update={"models": known[0].models})
        self._workers[event.worker] = (event, now)
        self._fresh_until = NEVER
        del self._sent_to[event.worker]
        del self._sent[event.pool]

    def sent(self, pool: str, worker: str = "") -> None:
        """Count a job that was put on a lane; the next heartbeat of the pool tells how far it got."""
        self._sent[pool] += 1
        if view := self._views.get(pool):
            view.sent += 1
        if worker:
            self._sent_to[worker] += 1

    def sent_to(self, worker: str) -> int:
        """Return the jobs that a worker was sent since its last heartbeat."""
        return self._sent_to[worker]

    def pool(self, name: str, now: float) -> LaneView | None:
        """Return one lane."""
        if now > self._fresh_until:
            self._fold(now)
        return self._views.get(name)

    def at(self, now: float) -> Sequence[LaneView]:
        """Return the lanes that have a living worker, or that may sleep."""
        if now > self._fresh_until:
            self._fold(now)
        return tuple(self._views.values())

    def directed(self, now: float) -> bool:
        """Return whether any lane has workers to choose among."""
        return any(lane.directed for lane in self.at(now))

    def living(self, now: float) -> frozenset[str]:
        """Return the names of the workers that are alive."""
        return frozenset(name for name, (worker, seen) in self._workers.items() if now <= self._silent_at(worker, seen))

    def deaf_until(self, now: float, *, since: float) -> None:
        """Take in that nobody could be heard ``since`` then: of who lived then, silence has to last anew."""
        for name, (worker, seen) in list(self._workers.items()):
            if since > self._silent_at(worker, seen):
                del self._workers[name]
                del self._sent_to[name]
        self._unheard = now
        self._fresh_until = NEVER

    def deserted(self, now: float) -> list[str]:
        """Return the pools without a living worker that may not sleep, until each is ``cleared``.

        Nobody reads their lanes any more, and what lies there would wait for its deadline.
        """
        living = {worker.pool for worker, seen in self._workers.values() if now <= self._silent_at(worker, seen)}
        self._cleared -= living
        return sorted(
            pool for pool in self._heard_of if pool not in living | self._cleared and not self._may_sleep(pool)
        )

    def cleared(self, pool: str) -> None:
        """Take in that somebody was told of a deserted pool: it is not named again before it has lived."""
        self._cleared.add(pool)

    def asleep(self) -> frozenset[str]:
        """Return the pools that may have no worker."""
        return frozenset(pool for pool, plan in self._plans.items() if plan.scale_to_zero)

    def _may_sleep(self, pool: str) -> bool:
        return pool in self._plans and self._plans[pool].scale_to_zero

    def forget(self, now: float) -> None:
        """Drop workers, and whole pools, that have been silent for long."""
        for name, (worker, seen) in list(self._workers.items()):
            if now - max(seen, self._unheard) > worker.heartbeat_s * FORGOTTEN_AFTER:
                del self._workers[name]
                del self._sent_to[name]
        for pool, heard in list(self._heard_of.items()):
            if now - max(heard, self._unheard) > ABANDONED_S:
                del self._heard_of[pool]
                self._cleared.discard(pool)

    def _silent_at(self, worker: EngineRegistered, seen: float) -> float:
        return max(seen, self._unheard) + worker.heartbeat_s * MISSED_BEATS

    def _fold(self, now: float) -> None:
        pools: dict[str, list[EngineRegistered]] = {}
        self._fresh_until = float("inf")
        for worker, seen in self._workers.values():
            gone_at = self._silent_at(worker, seen)
            if now <= gone_at:
                pools.setdefault(worker.pool, []).append(worker)
                self._fresh_until = min(self._fresh_until, gone_at)
        self._views = {}
        for pool in sorted(pools.keys() | self._plans.keys()):
            view = _view(pool, pools.get(pool, []), self._plans.get(pool))
            if view:
                view.sent = self._sent[pool]
                self._views[pool] = view


def _view(pool: str, workers: list[EngineRegistered], plan: PoolPlan | None) -> LaneView | None:
    if not workers:
        return _sleeping(plan) if plan and plan.scale_to_zero else None
    workers.sort(key=lambda worker: worker.worker)
    healthy = tuple(worker for worker in workers if worker.healthy and not worker.cooling_s)
    # While none is healthy all of them say what the lane could do.
    described = healthy or tuple(workers)
    first, *rest = described
    known = [card.context for worker in described for card in worker.models if card.context]
    resting = [worker.cooling_s for worker in workers if worker.cooling_s]
    return LaneView(
        pool=pool,
        workers=tuple(workers),
        healthy=healthy,
        capabilities=frozenset(first.capabilities).intersection(*(worker.capabilities for worker in rest)),
        models=_shared_models(described),
        context=min(known, default=plan.context if plan else 0),
        tier=TIERS[min(TIERS.index(worker.tier) for worker in described)],
        tags=frozenset(first.tags).intersection(*(worker.tags for worker in rest)),
        slots=sum(worker.slots for worker in healthy),
        busy=sum(worker.busy for worker in healthy),
        waiting=max((worker.waiting for worker in workers), default=0),
        service_s=_mean([worker.service_s for worker in described]),
        ttft_s=_mean([worker.ttft_s for worker in described]),
        error_rate=sum(worker.error_rate for worker in described) / len(described),
        cost=max(worker.cost_in + worker.cost_out for worker in described),
        cooling_s=0.0 if healthy else min(resting, default=0.0),
        directed=sum(worker.directed for worker in healthy) > 1,
    )


def _sleeping(plan: PoolPlan) -> LaneView:
    return LaneView(
        pool=plan.pool,
        capabilities=frozenset(plan.capabilities),
        models=plan.models or (plan.pool,),
        context=plan.context,
        tier=plan.tier,
        tags=frozenset(plan.tags),
        asleep=True,
        start_s=plan.start_s,
    )


def _shared_models(workers: Sequence[EngineRegistered]) -> tuple[str, ...]:
    first, *rest = workers
    others = [{card.id for card in worker.models} for worker in rest]
    return tuple(card.id for card in first.models if all(card.id in models for models in others))


def _mean(values: Sequence[float]) -> float:
    """Return the mean of what was measured; 0 stands for nothing measured yet."""
    known = [value for value in values if value]
    return sum(known) / len(known) if known else 0.0
