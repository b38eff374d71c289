"""Which lanes may serve a request: each filter keeps some of them, or says why none is left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archive_contracts.base import Problem
from archive_contracts.chat import Capability
from archive_router.domain.demand import Demand
from archive_router.domain.lanes import TIERS, LaneView

ANY_MODEL = frozenset({"", "auto", "default"})
"""Model names with which a client leaves the choice to the router."""
PLAIN: frozenset[Capability] = frozenset({"chat", "completion"})
"""What an installation is expected to offer; without it, an engine is missing."""
MOST_CHARS_A_TOKEN = 9
"""Twice what prose takes: a prompt that is refused here would have been refused by the engine for sure."""

Lanes = Sequence[LaneView]


@dataclass(frozen=True, slots=True)
class Filter:
    """``keep`` returns the lanes that pass; when there are none, ``refusal`` says why to the caller."""

    keep: Callable[[Demand, Lanes], Lanes]
    refusal: Callable[[Demand, Lanes], Problem]


def by_model(demand: Demand, lanes: Lanes) -> Lanes:
    """Keep the lanes that a model name means: those serving it, or the pool of that name."""
    if demand.model in ANY_MODEL:
        return lanes
    serving = [lane for lane in lanes if demand.model in lane.models]
    return serving or [lane for lane in lanes if lane.pool == demand.model]


def by_capability(demand: Demand, lanes: Lanes) -> Lanes:
    """Keep the lanes that can do all that the request needs."""
    return [lane for lane in lanes if demand.needs <= lane.capabilities]


def by_context(demand: Demand, lanes: Lanes) -> Lanes:
    """Keep the lanes whose window the prompt can fit into; an unknown window fits everything."""
    return [lane for lane in lanes if not lane.context or demand.prompt_chars <= lane.context * MOST_CHARS_A_TOKEN]


def by_tier(demand: Demand, lanes: Lanes) -> Lanes:
    """Keep the lanes of the wished tier or above, else the highest there are."""
    if demand.tier is None or len(lanes) < 2:
        return lanes
    wished = TIERS.index(demand.tier)
    ranks = [TIERS.index(lane.tier) for lane in lanes]
    floor = min(wished, max(ranks))
    return [lane for lane, rank in zip(lanes, ranks, strict=True) if rank >= floor]


def by_window(demand: Demand, lanes: Lanes) -> Lanes:
    """Keep the lanes whose window is as large as wished, else all of them."""
    if not demand.context:
        return lanes
    return [lane for lane in lanes if not lane.context or lane.context >= demand.context] or lanes


def by_tags(demand: Demand, lanes: Lanes) -> Lanes:
    """Keep the lanes with the wished tags, else all of them."""
    if not demand.tags:
        return lanes
    return [lane for lane in lanes if demand.tags <= lane.tags] or lanes


def unknown_model(demand: Demand, lanes: Lanes) -> Problem:
    """Say which models there are."""
    known = sorted({name for lane in lanes for name in lane.models})
    return Problem(
        code="model_not_found",
        message=f"The model {demand.model[:200]!r} does not exist here. Models that do: {', '.join(known) or 'none'}.",
        next_step="Ask for one of these, for 'auto', or add an engine with 'archive engines add URL'.",
        status=404,
        param="model",
    )


def unable(demand: Demand, lanes: Lanes) -> Problem:
    """Say what no engine offers.

    Where a client left the choice of the model to us, nothing is wrong with a request for the plainest thing: its
    engines are away, and it may be sent again.
    """
    offered = frozenset[Capability]().union(*(lane.capabilities for lane in lanes))
    lacking = demand.needs - offered
    if demand.model in ANY_MODEL and lacking & PLAIN:
        return Problem(
            code="no_engine",
            message=f"No engine that offers {', '.join(sorted(lacking & PLAIN))} is alive.",
            next_step="See 'archive engines list' and the log of the engine; the request may be sent again at once.",
            status=503,
            retry_after_s=2.0,
        )
    missing = ", ".join(sorted(lacking)) or "this combination"
    return Problem(
        code="unsupported_capability",
        message=f"No engine that serves {demand.model or 'requests'!r} offers {missing}.",
        next_step="Choose another model ('archive engines list' shows what each can do), or add an engine.",
        status=400,
        param="model",
    )


def too_long(demand: Demand, lanes: Lanes) -> Problem:
    """Say how long a prompt may be."""
    longest = max(lane.context for lane in lanes)
    return Problem(
        code="context_length_exceeded",
        message=f"The prompt of {demand.prompt_chars} characters does not fit into {longest} tokens of context.",
        next_step="Shorten the prompt, or use a model with a longer context.",
        status=400,
        param="messages",
    )


NEEDS: tuple[Filter, ...] = (
    Filter(by_model, unknown_model),
    Filter(by_capability, unable),
    Filter(by_context, too_long),
)
"""What a request cannot do without, in the order in which a caller is told."""
WISHES: tuple[Callable[[Demand, Lanes], Lanes], ...] = (by_tags, by_tier, by_window)
"""What a request would like: these never leave nothing."""
