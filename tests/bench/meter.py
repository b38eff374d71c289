"""CPU time, latency and memory of this process, and nothing of what it waits for."""

import resource
import sys
import time
from collections.abc import Sequence
from statistics import quantiles

WARM_SHARE = 0.1
"""The first tenth of the messages pays for connections, caches and first uses; it is not measured."""


class Meter:
    """Counts messages; knows the CPU time and the wall time of all but the first tenth of them."""

    def __init__(self, count: int) -> None:
        self._warm = int(count * WARM_SHARE)
        self._count = count
        self._seen = 0
        self._from = (0.0, 0.0)
        self._to = (0.0, 0.0)

    def hit(self) -> bool:
        """Count one message; True for the last."""
        self._seen += 1
        if self._seen == self._warm:
            self._from = (time.process_time(), time.perf_counter())
        elif self._seen == self._count:
            self._to = (time.process_time(), time.perf_counter())
            return True
        return False

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a message, of all threads of this process."""
        return (self._to[0] - self._from[0]) / (self._count - self._warm) * 1e6

    @property
    def rate(self) -> float:
        """Messages a second."""
        return (self._count - self._warm) / (self._to[1] - self._from[1])


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile in milliseconds."""
    cuts = quantiles(seconds, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


def rss_mb() -> float:
    """Return the most memory this process ever had resident, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))
