"""The decision: filter the lanes by what the request needs, order what is left, name the fallbacks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from archive_contracts.base import Problem
from archive_contracts.chat import Capability
from archive_contracts.engine import Target
from archive_router.domain.lanes import LaneView, serving

ANY_MODEL = frozenset({"", "auto", "default"})
"""Model names with which a client leaves the choice to the router."""
MOST_CHARS_A_TOKEN = 9
"""Twice what prose takes: a prompt that is refused here would have been refused by the engine for sure."""
MOST_FALLBACKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What decides where a request may go."""

    model: str
    needs: frozenset[Capability]
    prompt_chars: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """The lane that serves a request, and where it goes if that one fails before the first token."""

    chosen: Target
    fallbacks: tuple[Target, ...] = ()


def decide(demand: Demand, lanes: Iterable[LaneView], *, preferred_pool: str = "") -> Decision | Problem:
    """Choose among the living lanes, or say why none serves the request."""
    known = [lane for lane in lanes if lane.models]
    decision = _choose(demand, [lane for lane in known if lane.healthy], preferred_pool)
    if isinstance(decision, Problem) and isinstance(_choose(demand, known, preferred_pool), Decision):
        # An engine that is down for the moment must not look like a model that does not exist.
        return _NO_ENGINE
    return decision


def _choose(demand: Demand, lanes: Sequence[LaneView], preferred_pool: str) -> Decision | Problem:
    if not lanes:
        return _NO_ENGINE
    named = lanes if demand.model in ANY_MODEL else serving(lanes, demand.model)
    if not named:
        return _unknown_model(demand.model, lanes)
    able = [lane for lane in named if demand.needs <= lane.capabilities]
    if not able:
        return _unable(demand, named)
    fitting = [lane for lane in able if _fits(demand, lane)]
    if not fitting:
        return _too_long(demand, able)
    targets = [_target(demand, lane) for lane in sorted(fitting, key=_by_preference(preferred_pool))]
    return Decision(targets[0], tuple(targets[1 : 1 + MOST_FALLBACKS]))


def _target(demand: Demand, lane: LaneView) -> Target:
    model = demand.model if demand.model in lane.models else lane.models[0]
    return Target(pool=lane.pool, model=model)


def _fits(demand: Demand, lane: LaneView) -> bool:
    return not lane.context or demand.prompt_chars <= lane.context * MOST_CHARS_A_TOKEN


def _by_preference(preferred_pool: str) -> Callable[[LaneView], tuple[bool, float, str]]:
    return lambda lane: (lane.pool != preferred_pool, lane.load, lane.pool)


def _unknown_model(model: str, alive: Sequence[LaneView]) -> Problem:
    known = sorted({name for lane in alive for name in lane.models})
    return Problem(
        code="model_not_found",
        message=f"The model {model!r} does not exist here. Models that do: {', '.join(known) or 'none'}.",
        next_step="Ask for one of these, for 'auto', or add an engine with 'archive engines add URL'.",
        status=404,
        param="model",
    )


def _unable(demand: Demand, named: Sequence[LaneView]) -> Problem:
    offered = frozenset[Capability]().union(*(lane.capabilities for lane in named))
    missing = ", ".join(sorted(demand.needs - offered)) or "this combination"
    return Problem(
        code="unsupported_capability",
        message=f"No engine that serves {demand.model or 'requests'!r} offers {missing}.",
        next_step="Choose another model ('archive engines list' shows what each can do), or add an engine.",
        status=400,
        param="model",
    )


def _too_long(demand: Demand, able: Sequence[LaneView]) -> Problem:
    longest = max(lane.context for lane in able)
    return Problem(
        code="context_length_exceeded",
        message=f"The prompt of {demand.prompt_chars} characters does not fit into {longest} tokens of context.",
        next_step="Shorten the prompt, or use a model with a longer context.",
        status=400,
        param="messages",
    )


_NO_ENGINE = Problem(
    code="no_engine",
    message="No engine is alive.",
    next_step="See 'archive engines list' and the log of the engine; the request may be sent again at once.",
    status=503,
    retry_after_s=2.0,
)
