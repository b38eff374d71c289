"""How busy the gateways were: samples a few seconds apart, and what they say together."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

EVERY_S = 30.0
"""How far samples of one gateway are apart."""
MOST_HOURS = 24


@dataclass(slots=True)
class Traffic:
    """Requests that needed a model. ``seconds`` is their time in all."""

    requests: int = 0
    failed: int = 0
    seconds: float = 0.0
    tokens: int = 0

    def note(self, seconds: float, *, ok: bool, tokens: int = 0) -> None:
        """Count a request that ended, and the tokens of its answer."""
        self.requests += 1
        self.failed += not ok
        self.seconds += seconds
        self.tokens += tokens

    def clear(self) -> None:
        """Begin to count anew."""
        self.requests = self.failed = self.tokens = 0
        self.seconds = 0.0

    def add(self, other: "Traffic") -> None:
        """Count what another has counted."""
        self.requests += other.requests
        self.failed += other.failed
        self.seconds += other.seconds
        self.tokens += other.tokens

    @property
    def mean_s(self) -> float:
        """Mean time of a request."""
        return self.seconds / self.requests if self.requests else 0.0

    @property
    def failed_percent(self) -> float:
        """How many of the requests failed."""
        return self.failed * 100 / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look: ``at`` is seconds since the epoch, ``span_s`` the time that the traffic came in; a MB is 2**20 bytes.

    ``engines`` counts the workers that could take requests.
    """

    at: float
    span_s: float
    cpu_percent: float
    memory_mb: float
    memory_percent: float
    engines: int
    traffic: Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What samples say together; zeros when there are none."""

    avg_cpu: float = 0.0
    max_cpu: float = 0.0
    avg_memory: float = 0.0
    max_memory: float = 0.0
    total_requests: int = 0
    avg_latency: float = 0.0
    error_rate: float = 0.0


def joined(samples: Iterable[Sample]) -> list[Sample]:
    """Return one sample for each stretch of EVERY_S, oldest first: gateways share the requests, and often a machine."""
    stretches: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        stretches[int(sample.at // EVERY_S)].append(sample)
    return [_together(stretches[number]) for number in sorted(stretches)]


def summed_up(samples: Sequence[Sample]) -> Summary:
    """Return the figures of a time as a whole."""
    if not samples:
        return Summary()
    traffic = _traffic(samples)
    return Summary(
        avg_cpu=sum(sample.cpu_percent for sample in samples) / len(samples),
        max_cpu=max(sample.cpu_percent for sample in samples),
        avg_memory=sum(sample.memory_mb for sample in samples) / len(samples),
        max_memory=max(sample.memory_mb for sample in samples),
        total_requests=traffic.requests,
        avg_latency=traffic.mean_s,
        error_rate=traffic.failed_percent,
    )


def _together(samples: Sequence[Sample]) -> Sample:
    # The busiest machine, not the mean of machines: that is what somebody who looks at the figure wants to know of.
    return Sample(
        at=max(sample.at for sample in samples),
        span_s=max(sample.span_s for sample in samples),
        cpu_percent=max(sample.cpu_percent for sample in samples),
        memory_mb=max(sample.memory_mb for sample in samples),
        memory_percent=max(sample.memory_percent for sample in samples),
        engines=max(sample.engines for sample in samples),
        traffic=_traffic(samples),
    )


def _traffic(samples: Iterable[Sample]) -> Traffic:
    traffic = Traffic()
    for sample in samples:
        traffic.add(sample.traffic)
    return traffic
