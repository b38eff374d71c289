"""How fast engines write and how often they fail, from the counts in their heartbeats."""

from collections import deque
from dataclasses import dataclass

from archive_contracts.engine import EngineRegistered

WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Over the last minute: tokens written a second, calls ended, and the share of them that failed."""

    tokens_per_s: float = 0.0
    calls: int = 0
    errors: float = 0.0


@dataclass(frozen=True, slots=True)
class _Count:
    at: float
    served: int
    failed: int
    written: int


class Gauge:
    """Keeps the counts of each worker for the length of the window. Times are in seconds and do not go back."""

    def __init__(self) -> None:
        self._counts: dict[str, deque[_Count]] = {}

    def hear(self, beat: EngineRegistered, at: float) -> None:
        """Take in a heartbeat."""
        counts = self._counts.setdefault(beat.worker, deque())
        counts.append(_Count(at, beat.served, beat.failed, beat.written))
        # The last one from before the window stays: the window begins with its counts.
        while len(counts) > 1 and counts[1].at <= at - WINDOW_S:
            counts.popleft()

    def forget(self, worker: str) -> None:
        """Drop a worker that is gone."""
        self._counts.pop(worker, None)

    def rates(self) -> Rates:
        """Return what all workers did together."""
        spans = [(counts[0], counts[-1]) for counts in self._counts.values() if counts]
        calls = sum(last.served - first.served for first, last in spans)
        failed = sum(last.failed - first.failed for first, last in spans)
        speeds = ((last.written - first.written) / max(1.0, last.at - first.at) for first, last in spans)
        return Rates(sum(speeds), calls, failed / calls if calls else 0.0)
