"""The decision: filter the lanes by what the request needs, score what is left, pick one, name the fallbacks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from archive_contracts.base import Problem
from archive_contracts.engine import EngineRegistered, Parameters, Target
from archive_router.domain.affinity import Match, Prefixes, has_room, home_of
from archive_router.domain.demand import Demand
from archive_router.domain.filters import NEEDS, WISHES
from archive_router.domain.lanes import LaneView
from archive_router.domain.profiles import Profile, parameters, profile_for, wishing
from archive_router.domain.scorers import field_of, scored
from archive_router.domain.strategies import DEFAULT_STRATEGY, Strategy, strategy

MOST_FALLBACKS = 3
MOST_NEIGHBOURS = 2
"""Fallbacks among the chosen pool's own servers; the rest are other pools."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The lane that serves a request, and where it goes if that one fails before the first token."""

    chosen: Target
    fallbacks: tuple[Target, ...] = ()
    parameters: Parameters | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the choice goes by beside the request and the lanes.

    ``sent_to`` tells how many jobs a worker was sent since its last heartbeat; ``chance`` draws from [0, 1).
    """

    strategy: Strategy = field(default_factory=lambda: strategy(DEFAULT_STRATEGY))
    smart: Strategy = field(default_factory=lambda: strategy("smart"))
    preferred_pool: str = ""
    prefixes: Prefixes = field(default_factory=Prefixes)
    sent_to: Callable[[str], int] = lambda worker: 0
    chance: Callable[[], float] = lambda: 0.0


def decide(demand: Demand, lanes: Iterable[LaneView], policy: Policy, *, user_turn: str = "") -> Decision | Problem:
    """Choose among the living lanes, or say why none serves the request."""
    known = sorted((lane for lane in lanes if lane.models), key=lambda lane: lane.pool)
    profile = _profile(demand, known, user_turn)
    wanted = wishing(demand, profile) if profile else demand
    decision = _choose(wanted, [lane for lane in known if lane.healthy or lane.asleep], policy, profile)
    if isinstance(decision, Decision):
        return decision
    resting = _able(wanted, known)
    if isinstance(resting, Problem):
        return decision
    # An engine that is down for the moment must not look like a model that does not exist.
    return no_engine(min(lane.cooling_s for lane in resting))


def _profile(demand: Demand, lanes: Sequence[LaneView], user_turn: str) -> Profile | None:
    """Return the profile that the model's name means; a model or pool that bears the name comes first."""
    profile = profile_for(demand.model, user_turn)
    if profile and any(demand.model == lane.pool or demand.model in lane.models for lane in lanes):
        return None
    return profile


def _able(demand: Demand, lanes: Sequence[LaneView]) -> Sequence[LaneView] | Problem:
    left = lanes
    for step in NEEDS:
        kept = step.keep(demand, left)
        if not kept:
            return step.refusal(demand, left) if lanes else no_engine()
        left = kept
    return left


def _choose(demand: Demand, lanes: Sequence[LaneView], policy: Policy, profile: Profile | None) -> Decision | Problem:
    able = _able(demand, lanes)
    if isinstance(able, Problem):
        return able
    wished = able
    for wish in WISHES:
        wished = wish(demand, wished)
    leading = _leading(wished, policy.preferred_pool)
    match = policy.prefixes.match(demand.marks, prompt_chars=demand.prompt_chars) if demand.marks else None
    chosen, others = _picked(demand, leading, able, policy, match)
    target = _target(demand, chosen, _worker(demand, chosen, policy, match))
    spare = [*_neighbours(demand, chosen, target), *(_target(demand, lane) for lane in others)]
    brought = parameters(profile, prompt_tokens=demand.prompt_tokens, context=chosen.context) if profile else None
    return Decision(target, tuple(spare[:MOST_FALLBACKS]), brought)


def _leading(lanes: Sequence[LaneView], preferred_pool: str) -> Sequence[LaneView]:
    """Return the lanes to choose among: what the operator prefers, else what need not be started first."""
    if len(lanes) < 2:
        return lanes
    preferred = [lane for lane in lanes if lane.pool == preferred_pool]
    return preferred or [lane for lane in lanes if not lane.asleep] or lanes


def _picked(
    demand: Demand, leading: Sequence[LaneView], able: Sequence[LaneView], policy: Policy, match: Match | None
) -> tuple[LaneView, list[LaneView]]:
    """Return the chosen lane, and the next best ones, lanes that sleep left out."""
    if len(able) == 1:
        return able[0], []
    mix = policy.smart if demand.tier else policy.strategy
    scores = scored(demand, able, field_of(able, warm=match.worker if match else ""), mix.weights)
    score_of = {lane.pool: score for lane, score in zip(able, scores, strict=True)}
    chosen = leading[mix.pick([score_of[lane.pool] for lane in leading], policy.chance)]
    front = {lane.pool for lane in leading}
    rest = [lane for lane in able if lane is not chosen and not lane.asleep]
    rest.sort(key=lambda lane: (lane.pool in front, score_of[lane.pool]), reverse=True)
    return chosen, rest[:MOST_FALLBACKS]


def _worker(demand: Demand, lane: LaneView, policy: Policy, match: Match | None) -> EngineRegistered | None:
    """Return the worker to direct the request to, if one has a claim on it and room for it.

    A long prompt that nobody has read goes to the least busy, so that it is known who reads it.
    """
    if not lane.directed or not (demand.marks or demand.session):
        return None
    able = [worker for worker in lane.healthy if worker.directed]
    home = home_of(demand.session, able) if demand.session else ""
    for name in (match.worker if match else "", home):
        worker = next((worker for worker in able if worker.worker == name), None)
        if worker and has_room(worker, able, sent=policy.sent_to(name)):
            return worker
    if match or not demand.marks:
        return None
    idle = min(able, key=lambda worker: (worker.busy + policy.sent_to(worker.worker)) / worker.slots)
    return idle if idle.busy + policy.sent_to(idle.worker) < idle.slots else None


def _neighbours(demand: Demand, lane: LaneView, target: Target) -> list[Target]:
    """Return one worker of each other server of the pool; whoever fails leaves itself out."""
    if not lane.directed:
        return []
    servers: dict[str, EngineRegistered] = {}
    for worker in sorted(lane.healthy, key=lambda worker: worker.busy / worker.slots):
        if worker.directed and worker.instance:
            servers.setdefault(worker.instance, worker)
    if len(servers) < 2:
        return []
    others = [worker for instance, worker in servers.items() if instance != target.instance]
    return [_target(demand, lane, worker) for worker in others[: MOST_NEIGHBOURS + (not target.worker)]]


def _target(demand: Demand, lane: LaneView, worker: EngineRegistered | None = None) -> Target:
    model = demand.model if demand.model in lane.models else lane.models[0]
    if worker is None:
        return Target(pool=lane.pool, model=model)
    return Target(pool=lane.pool, model=model, worker=worker.worker, instance=worker.instance)


def no_engine(cooling_s: float = 0.0) -> Problem:
    """Say that no engine can take the request now, and when one may."""
    return _NO_ENGINE.model_copy(update={"retry_after_s": round(cooling_s, 3)}) if cooling_s else _NO_ENGINE


_NO_ENGINE = Problem(
    code="no_engine",
    message="No engine is alive.",
    next_step="See 'archive engines list' and the log of the engine; the request may be sent again at once.",
    status=503,
    retry_after_s=2.0,
)
