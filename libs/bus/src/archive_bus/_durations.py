"""How long handlers run, by what came of it: cheap enough to be noted for every message."""

from bisect import bisect_left
from collections.abc import Iterator

BOUNDS_S = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0)
"""Upper bounds of the ranges that are told apart: from what only computes to a long answer of a model."""

DONE, FAILED, REJECTED, CUT_OFF = "done", "failed", "rejected", "cut_off"
"""What came of a run: ``failed`` may run again, ``rejected`` never does, ``cut_off`` lost its server or its lease."""
OUTCOMES = (DONE, FAILED, REJECTED, CUT_OFF)


class Durations:
    """Counts of runs by their length, for each outcome. Runs beyond the last bound are counted, too."""

    def __init__(self) -> None:
        self._runs: dict[str, list[int]] = {outcome: [0] * (len(BOUNDS_S) + 1) for outcome in OUTCOMES}
        self._seconds: dict[str, float] = dict.fromkeys(OUTCOMES, 0.0)

    def note(self, outcome: str, seconds: float) -> None:
        """Count one run."""
        self._runs[outcome][bisect_left(BOUNDS_S, seconds)] += 1
        self._seconds[outcome] += seconds

    def __iter__(self) -> Iterator[tuple[str, tuple[int, ...], float]]:
        """Yield (outcome, runs in each range, seconds of all of them) for each that there was."""
        for outcome, runs in self._runs.items():
            if any(runs):
                yield outcome, tuple(runs), self._seconds[outcome]

    def __add__(self, other: "Durations") -> "Durations":
        """Return what both have counted."""
        both = Durations()
        for outcome, runs, seconds in (*self, *other):
            both._runs[outcome] = [one + more for one, more in zip(both._runs[outcome], runs, strict=True)]
            both._seconds[outcome] += seconds
        return both
