"""Prometheus metrics of a process, in the registry that `/metrics` serves."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType] - no types

DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Series:
    """What a histogram has seen under one set of labels."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Take a value in."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Histogram(Collector):
    """Counts of values up to each bound, for the event loop's thread alone, which serves `/metrics` as well.

    That of prometheus_client takes a lock twice for each value and makes text of labels at each look.
    """

    def __init__(self, name: str, help_text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._family = (name, help_text, None, None, labels)
        self._bounds = bounds
        self._series: dict[tuple[str, ...], Series] = {}
        REGISTRY.register(self)

    def labels(self, *values: str) -> Series:
        """Return what there is under some labels."""
        known = self._series.get(values)
        if known is None:
            known = self._series[values] = Series(self._bounds)
        return known

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield it as Prometheus reads it: counts of all values up to a bound."""
        family = HistogramMetricFamily(*self._family)
        names = [*(floatToGoString(bound) for bound in self._bounds), "+Inf"]
        for values, series in self._series.items():
            family.add_metric(values, list(zip(names, accumulate(series.counts), strict=True)), series.total)
        yield family


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
    return Histogram(name, help_text, labels, buckets)


def exposition() -> tuple[str, bytes]:
    """Return content type and body of `/metrics`, process metrics (memory, CPU, descriptors) included."""
    return CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
