"""How well a lane suits a request: each scorer gives 0 (badly) to 1 (best), beside the other lanes in question."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from archive_router.domain.demand import Demand
from archive_router.domain.lanes import TIERS, LaneView


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What scorers compare a lane with: the best values among the candidates, and who knows the prompt already."""

    ttft_s: float
    service_s: float
    cost: float
    warm: str = ""


Lanes = Sequence[LaneView]
Scorer = Callable[[Demand, Lanes, Field], list[float]]
"""Scores all candidates in one call: a call a lane costs more than the arithmetic."""


def least_in_flight(demand: Demand, lanes: Lanes, field: Field) -> list[float]:
    """Prefer free slots; a full lane falls with what waits before it."""
    del demand, field
    return [1.0 / (1.0 + lane.load) for lane in lanes]


def fast_first_token(demand: Demand, lanes: Lanes, field: Field) -> list[float]:
    """Prefer the lane whose first token came soonest on average; who has measured nothing gets a chance."""
    del demand
    return [field.ttft_s / lane.ttft_s if lane.ttft_s else 1.0 for lane in lanes]


def fast_answer(demand: Demand, lanes: Lanes, field: Field) -> list[float]:
    """Prefer the lane whose answers were complete soonest on average."""
    del demand
    return [field.service_s / lane.service_s if lane.service_s else 1.0 for lane in lanes]


def few_errors(demand: Demand, lanes: Lanes, field: Field) -> list[float]:
    """Prefer lanes whose calls succeed."""
    del demand, field
    return [1.0 - lane.error_rate for lane in lanes]


def low_cost(demand: Demand, lanes: Lanes, field: Field) -> list[float]:
    """Prefer the cheap; free is best."""
    del demand
    return [(field.cost + 0.01) / (lane.cost + 0.01) for lane in lanes]


def quality(demand: Demand, lanes: Lanes, field: Field) -> list[float]:
    """Prefer the higher tier."""
    del demand, field
    return [(TIERS.index(lane.tier) + 1) / len(TIERS) for lane in lanes]


def tier_fit(demand: Demand, lanes: Lanes, field: Field) -> list[float]:
    """Prefer the wished tier itself: a higher one can do it too, and is better kept for who needs it."""
    del field
    if demand.tier is None:
        return [1.0] * len(lanes)
    wished = TIERS.index(demand.tier)
    return [(1.0, 0.8, 0.5, 0.3)[abs(TIERS.index(lane.tier) - wished)] for lane in lanes]


def specialised(demand: Demand, lanes: Lanes, field: Field) -> list[float]:
    """Prefer lanes made for this kind of work."""
    del field
    return [1.0 if demand.tags <= lane.tags else 0.6 for lane in lanes]


def knows_prefix(demand: Demand, lanes: Lanes, field: Field) -> list[float]:
    """Prefer the lane with a worker that has read the beginning of this prompt."""
    del demand
    if not field.warm:
        return [0.0] * len(lanes)
    return [float(any(worker.worker == field.warm for worker in lane.healthy)) for lane in lanes]


SCORERS: Mapping[str, Scorer] = {
    "least_in_flight": least_in_flight,
    "fast_first_token": fast_first_token,
    "fast_answer": fast_answer,
    "few_errors": few_errors,
    "low_cost": low_cost,
    "quality": quality,
    "tier_fit": tier_fit,
    "specialised": specialised,
    "knows_prefix": knows_prefix,
}


def field_of(lanes: Sequence[LaneView], *, warm: str = "") -> Field:
    """Return what the candidates are compared with."""
    return Field(
        ttft_s=min((lane.ttft_s for lane in lanes if lane.ttft_s), default=0.0),
        service_s=min((lane.service_s for lane in lanes if lane.service_s), default=0.0),
        cost=min((lane.cost for lane in lanes), default=0.0),
        warm=warm,
    )


def scored(demand: Demand, lanes: Lanes, field: Field, weights: Sequence[tuple[Scorer, float]]) -> list[float]:
    """Return the weighted sum of the scores of each lane."""
    sums = [0.0] * len(lanes)
    for scorer, weight in weights:
        sums = [known + weight * score for known, score in zip(sums, scorer(demand, lanes, field), strict=True)]
    return sums
