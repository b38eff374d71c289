"""How well a lane suits a request: each scorer returns 0 (badly) to 1 (best), beside the other lanes in question."""

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


Scorer = Callable[[Demand, LaneView, Field], float]


def least_in_flight(demand: Demand, lane: LaneView, field: Field) -> float:
    """Prefer free slots; a full lane falls with what waits before it."""
    del demand, field
    return 1.0 / (1.0 + lane.load)


def fast_first_token(demand: Demand, lane: LaneView, field: Field) -> float:
    """Prefer the lane whose first token came soonest on average; who has measured nothing gets a chance."""
    del demand
    return field.ttft_s / lane.ttft_s if lane.ttft_s else 1.0


def fast_answer(demand: Demand, lane: LaneView, field: Field) -> float:
    """Prefer the lane whose answers were complete soonest on average."""
    del demand
    return field.service_s / lane.service_s if lane.service_s else 1.0


def few_errors(demand: Demand, lane: LaneView, field: Field) -> float:
    """Prefer lanes whose calls succeed."""
    del demand, field
    return 1.0 - lane.error_rate


def low_cost(demand: Demand, lane: LaneView, field: Field) -> float:
    """Prefer the cheap; free is best."""
    del demand
    return (field.cost + 0.01) / (lane.cost + 0.01)


def quality(demand: Demand, lane: LaneView, field: Field) -> float:
    """Prefer the higher tier."""
    del demand, field
    return (TIERS.index(lane.tier) + 1) / len(TIERS)


def tier_fit(demand: Demand, lane: LaneView, field: Field) -> float:
    """Prefer the wished tier itself: a higher one can do it too, and is better kept for who needs it."""
    del field
    if demand.tier is None:
        return 1.0
    distance = abs(TIERS.index(lane.tier) - TIERS.index(demand.tier))
    return (1.0, 0.8, 0.5, 0.3)[distance]


def specialised(demand: Demand, lane: LaneView, field: Field) -> float:
    """Prefer lanes made for this kind of work."""
    del field
    return 1.0 if demand.tags <= lane.tags else 0.6


def knows_prefix(demand: Demand, lane: LaneView, field: Field) -> float:
    """Prefer the lane with a worker that has read the beginning of this prompt."""
    del demand
    return float(bool(field.warm) and any(worker.worker == field.warm for worker in lane.healthy))


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


def scored(
    demand: Demand, lanes: Sequence[LaneView], field: Field, weights: Sequence[tuple[Scorer, float]]
) -> list[float]:
    """Return the weighted sum of the scores of each lane."""
    return [sum(weight * scorer(demand, lane, field) for scorer, weight in weights) for lane in lanes]
