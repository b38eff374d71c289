# pyright: reportUnknownMemberType=false
# prometheus_client leaves its values untyped.
"""Prometheus metrics of a process, in the registry that `/metrics` serves."""

from bisect import bisect_left
from collections import Counter as Counts
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.samples import Sample

DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MOST_UNSORTED = 1000


class _Histogram(Histogram):
    """A histogram that sorts values into its buckets together, when they are asked for or have become many.

    One at a time takes five times as long, most of it for two locks, and some requests have four values to observe.
    """

    def _metric_init(self) -> None:
        super()._metric_init()
        self._unsorted = deque[float]()

    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        if exemplar:
            super().observe(amount, dict(exemplar))
            return
        self._unsorted.append(amount)
        if len(self._unsorted) >= MOST_UNSORTED:
            self._sort()

    def _sort(self) -> None:
        """Sort what waits, which other threads may do just now, too."""
        found, total = Counts[int](), 0.0
        try:
            while True:
                amount = self._unsorted.popleft()
                found[bisect_left(self._upper_bounds, amount)] += 1
                total += amount
        except IndexError:
            pass
        self._sum.inc(total)
        for place, count in found.items():
            self._buckets[place].inc(count)

    def _child_samples(self) -> Iterable[Sample]:
        self._sort()
        return super()._child_samples()


@cache
def counter(name: str, help_text: str, *labels: str) -> Counter:
    """Return the counter of that name, made on the first call.

    Several services may share a process and so a registry; the same definition gives the same metric.
    """
    return Counter(name, help_text, labels)


@cache
def gauge(name: str, help_text: str, *labels: str) -> Gauge:
    """Return the gauge of that name, made on the first call."""
    return Gauge(name, help_text, labels)


@cache
def histogram(name: str, help_text: str, *labels: str, buckets: Sequence[float] = DURATION_BUCKETS_S) -> Histogram:
    """Return the histogram of that name, made on the first call; the default buckets are seconds."""
    return _Histogram(name, help_text, labels, buckets=buckets)


def exposition() -> tuple[str, bytes]:
    """Return content type and body of `/metrics`, process metrics (memory, CPU, descriptors) included."""
    return CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
