"""Prometheus metrics of a process, in the registry that `/metrics` serves."""

from collections.abc import Sequence
from functools import cache

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


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
    return Histogram(name, help_text, labels, buckets=buckets)


def exposition() -> tuple[str, bytes]:
    """Return content type and body of `/metrics`, process metrics (memory, CPU, descriptors) included."""
    return CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
