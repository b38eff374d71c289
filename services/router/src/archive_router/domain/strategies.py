"""Named mixes of scorers with a way to pick, as the originals had them."""

from collections.abc import Mapping
from dataclasses import dataclass

from archive_router.domain.picks import PICKS, Pick
from archive_router.domain.scorers import SCORERS, Scorer


@dataclass(frozen=True, slots=True)
class Strategy:
    """Weighted scorers and a pick. One instance serves one router: a round robin remembers its turn."""

    weights: tuple[tuple[Scorer, float], ...]
    pick: Pick


_MIXES: Mapping[str, tuple[Mapping[str, float], str]] = {
    "health-score": (
        {"least_in_flight": 0.4, "few_errors": 0.3, "fast_first_token": 0.15, "fast_answer": 0.05, "low_cost": 0.1},
        "best",
    ),
    "round-robin": ({"few_errors": 1.0}, "round_robin"),
    "least-latency": ({"fast_first_token": 0.5, "fast_answer": 0.3, "least_in_flight": 0.2}, "best"),
    "weighted-random": ({"least_in_flight": 0.6, "few_errors": 0.4}, "weighted_random"),
    "power-of-two": ({"least_in_flight": 0.7, "few_errors": 0.3}, "power_of_two"),
    "cost-optimized": ({"low_cost": 0.7, "few_errors": 0.2, "least_in_flight": 0.1}, "best"),
    "quality-first": ({"quality": 0.7, "few_errors": 0.2, "least_in_flight": 0.1}, "best"),
    # Universal AI Tools' smart score: speed .2, capability .3, specialisation .2, past quality .2, load .05, time .05.
    "smart": (
        {"fast_answer": 0.2, "tier_fit": 0.3, "specialised": 0.2, "few_errors": 0.2, "least_in_flight": 0.1},
        "best",
    ),
}
STRATEGIES = tuple(_MIXES)
DEFAULT_STRATEGY = "health-score"
PREFIX_WEIGHT = 0.3
"""What a cached prefix adds beside a mix whose weights sum to 1."""


def strategy(name: str) -> Strategy:
    """Return a strategy by its name.

    Raises:
        KeyError: there is none of this name; see STRATEGIES.
    """
    mix, pick = _MIXES[name]
    weights = {**mix, "knows_prefix": PREFIX_WEIGHT} if pick == "best" else dict(mix)
    return Strategy(tuple((SCORERS[scorer], weight) for scorer, weight in weights.items()), PICKS[pick]())
