"""What a service's bus measures, for Prometheus and for OpenTelemetry.

Both ask when they want to know: nothing is computed for a message. How a lane's group stands is looked up on the server
now and then by its consumers, and told as it was then.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import accumulate

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from archive_bus._backlog import Backlog
from archive_bus._durations import BOUNDS_S, Durations

LABELS = ("service", "stream", "partition")
OUTCOME = "outcome"
COUNTED = ("done", "retried", "dead", "expired", "lost_lease", "refused", "handed_back")
"""The outcomes that are told: what is not a number of messages stays inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How a lane stands and what became of its messages, as one process sees it.

    ``redelivered`` counts messages that came a second time; ``still_s`` is how long the loop that reads has not moved.
    """

    stream: str
    partition: str
    backlog: Backlog | None
    counts: Counter[str]
    redelivered: int
    durations: Durations
    in_flight: int
    still_s: float

    def beside(self, other: "Sample") -> "Sample":
        """Return the sample of two readers of one lane."""
        counts = Counter(self.counts)
        counts.update(other.counts)  # unlike a sum, it keeps what is 0
        return replace(
            self,
            backlog=self.backlog or other.backlog,
            counts=counts,
            redelivered=self.redelivered + other.redelivered,
            durations=self.durations + other.durations,
            in_flight=self.in_flight + other.in_flight,
            still_s=max(self.still_s, other.still_s),
        )

    @property
    def told(self) -> Iterable[tuple[str, int]]:
        """The counts that are numbers of messages; the rest stays inside."""
        return [(outcome, self.counts[outcome]) for outcome in COUNTED]

    def ended(self) -> "Sample":
        """Return what is left of it when its reader has ended: a counter that falls looks like a process begun anew."""
        return replace(self, backlog=None, in_flight=0, still_s=0.0)


def merged(samples: Iterable[Sample]) -> list[Sample]:
    """Return one sample of each lane."""
    lanes: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        place = (sample.stream, sample.partition)
        lanes[place] = lanes[place].beside(sample) if place in lanes else sample
    return list(lanes.values())


@dataclass(frozen=True, slots=True)
class Gauge:
    """One figure about a lane; None is not told."""

    name: str
    unit: str
    about: str
    read: Callable[[Sample], float | None]


def _group(read: Callable[[Backlog], float | None]) -> Callable[[Sample], float | None]:
    """Return a figure about the lane's group: 0 before somebody has looked."""
    return lambda sample: read(sample.backlog) if sample.backlog else 0.0


def _oldest_s(found: Backlog) -> float:
    return max(0.0, time.time() - found.oldest_ms / 1000) if found.oldest_ms else 0.0


GAUGES = (
    Gauge(
        "archive_bus_lag", "{message}", "Messages that no consumer of the group has read.", _group(lambda at: at.lag)
    ),
    Gauge(
        "archive_bus_lag_unknown",
        "1",
        "1 while the server cannot tell the lag, which is not told then; else 0.",
        _group(lambda at: float(at.lag is None)),
    ),
    Gauge("archive_bus_pending", "{message}", "Messages read and not settled.", _group(lambda at: at.pending)),
    Gauge("archive_bus_dead_letters", "{message}", "Dead letters of the group.", _group(lambda at: at.dead)),
    Gauge(
        "archive_bus_oldest_seconds",
        "s",
        "Age of the oldest message that the group has not settled, 0 when there is none.",
        _group(_oldest_s),
    ),
    Gauge("archive_bus_in_flight", "{message}", "Messages whose handler runs here.", lambda sample: sample.in_flight),
    Gauge(
        "archive_bus_loop_age_seconds",
        "s",
        "How long the loop that reads the lane has not moved.",
        lambda sample: sample.still_s,
    ),
)
MESSAGES, REDELIVERED, SECONDS = "archive_bus_messages", "archive_bus_redelivered", "archive_bus_handler_seconds"
ABOUT_MESSAGES = "Messages by what became of them."
ABOUT_REDELIVERED = "Messages that came a second time: after a failure, a restart or a lost lease."
ABOUT_SECONDS = "How long handlers ran, by what came of it."


class Metrics:
    """The figures of one service; told between ``start`` and ``stop``."""

    def __init__(self, service: str, samples: Callable[[], Iterable[Sample]]) -> None:
        self.service = service
        self._take = samples
        self._told = False

    def samples(self) -> Iterable[Sample]:
        """Return how the lanes stand, each once, as the formats demand."""
        return self._take() if self._told else ()

    def start(self) -> None:
        """Let Prometheus' registry and OpenTelemetry's meter ask."""
        self._told = True
        _page().add(self)
        meter: Meter = get_meter(f"archive_bus.{self.service}")
        for gauge in GAUGES:
            meter.create_observable_gauge(
                gauge.name, [partial(self._observe, gauge)], unit=gauge.unit, description=gauge.about
            )
        meter.create_observable_counter(MESSAGES, [self._count], unit="{message}", description=ABOUT_MESSAGES)
        meter.create_observable_counter(REDELIVERED, [self._again], unit="{message}", description=ABOUT_REDELIVERED)
        meter.create_observable_counter(SECONDS, [self._spent], unit="s", description=ABOUT_SECONDS)

    def stop(self) -> None:
        """Tell nothing more."""
        self._told = False
        self._take = tuple[Sample, ...]  # OpenTelemetry never lets go of what it asks, and must not keep the bus
        _page().discard(self)

    def _observe(self, gauge: Gauge, options: CallbackOptions) -> Iterator[Observation]:
        del options
        for sample in self.samples():
            if (value := gauge.read(sample)) is not None:
                yield Observation(value, self._labels(sample))

    def _count(self, options: CallbackOptions) -> Iterator[Observation]:
        del options
        for sample in self.samples():
            for outcome, count in sample.told:
                yield Observation(count, {**self._labels(sample), OUTCOME: outcome})

    def _again(self, options: CallbackOptions) -> Iterator[Observation]:
        del options
        return (Observation(sample.redelivered, self._labels(sample)) for sample in self.samples())

    def _spent(self, options: CallbackOptions) -> Iterator[Observation]:
        """Tell the seconds alone: OpenTelemetry asks for no histogram that somebody else has counted."""
        del options
        for sample in self.samples():
            for outcome, _, seconds in sample.durations:
                yield Observation(seconds, {**self._labels(sample), OUTCOME: outcome})

    def _labels(self, sample: Sample) -> dict[str, str]:
        return {"service": self.service, "stream": sample.stream, "partition": sample.partition}


class _Page(Collector):
    """All services of a process under one heading for each metric, as Prometheus' format demands."""

    def __init__(self) -> None:
        self._services: list[Metrics] = []

    def add(self, metrics: Metrics) -> None:
        self._services.append(metrics)

    def discard(self, metrics: Metrics) -> None:
        self._services.remove(metrics)

    def collect(self) -> Iterator[Metric]:
        taken = [
            ([each.service, sample.stream, sample.partition], sample)
            for each in tuple(self._services)
            for sample in each.samples()
        ]
        for gauge in GAUGES:
            family = GaugeMetricFamily(gauge.name, gauge.about, labels=LABELS)
            for place, sample in taken:
                if (value := gauge.read(sample)) is not None:
                    family.add_metric(place, value)
            yield family
        counter = CounterMetricFamily(MESSAGES, ABOUT_MESSAGES, labels=(*LABELS, OUTCOME))
        again = CounterMetricFamily(REDELIVERED, ABOUT_REDELIVERED, labels=LABELS)
        spent = HistogramMetricFamily(SECONDS, ABOUT_SECONDS, labels=(*LABELS, OUTCOME))
        for place, sample in taken:
            for outcome, count in sample.told:
                counter.add_metric([*place, outcome], count)
            again.add_metric(place, sample.redelivered)
            for outcome, runs, seconds in sample.durations:
                spent.add_metric([*place, outcome], _buckets(runs), seconds)
        yield from (counter, again, spent)


def _buckets(runs: Sequence[int]) -> list[tuple[str, float]]:
    """Return how many runs were at most so long, as Prometheus counts."""
    bounds = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")
    return list(zip(bounds, accumulate(runs), strict=True))


@cache
def _page() -> _Page:
    """Return the page of this process, made on the first call."""
    page = _Page()
    REGISTRY.register(page)
    return page
