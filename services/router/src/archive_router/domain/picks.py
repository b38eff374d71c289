"""Choose one of the scored lanes. Chance comes in as a number in [0, 1), so that every choice can be repeated."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

Pick = Callable[[Sequence[float], Callable[[], float]], int]
"""Takes the scores and a source of chance; returns the index of the choice. The first of equals wins."""


def best(scores: Sequence[float], chance: Callable[[], float]) -> int:
    """Take the highest score."""
    del chance
    return max(range(len(scores)), key=scores.__getitem__)


def weighted_random(scores: Sequence[float], chance: Callable[[], float]) -> int:
    """Take each as often as its score says."""
    sums = list(accumulate(max(score, 0.0) for score in scores))
    wanted = chance() * sums[-1]
    return next((index for index, reached in enumerate(sums) if wanted < reached), 0)


def power_of_two(scores: Sequence[float], chance: Callable[[], float]) -> int:
    """Take the better of two drawn at random (Mitzenmacher 2001): no herd runs to the same best lane."""
    count = len(scores)
    first = int(chance() * count)
    second = (first + 1 + int(chance() * (count - 1))) % count
    return second if scores[second] > scores[first] else first


class RoundRobin:
    """Take one after the other."""

    def __init__(self) -> None:
        self._turn = -1

    def __call__(self, scores: Sequence[float], chance: Callable[[], float]) -> int:
        """Return the next index."""
        del chance
        self._turn += 1
        return self._turn % len(scores)


PICKS: Mapping[str, Callable[[], Pick]] = {
    "best": lambda: best,
    "weighted_random": lambda: weighted_random,
    "power_of_two": lambda: power_of_two,
    "round_robin": RoundRobin,
}
