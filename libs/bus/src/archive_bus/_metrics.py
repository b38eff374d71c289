"""What a service's bus measures, for Prometheus and for OpenTelemetry.

Both ask when they want to know: nothing is computed for a message. How a lane's group stands is looked up on the server
now and then by its consumers, and told as it was then.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from archive_bus._backlog import Backlog

LABELS = ("service", "stream", "partition")
OUTCOME = "outcome"
COUNTED = ("done", "retried", "dead", "expired", "lost_lease", "refused", "handed_back")
"""The outcomes that are told: what is not a number of messages stays inside."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """One figure about a lane's group."""

    name: str
    unit: str
    about: str
    read: Callable[[Backlog], float | None]


GAUGES = (
    Gauge("archive_bus_lag", "{message}", "Messages that no consumer of the group has read.", lambda each: each.lag),
    Gauge("archive_bus_pending", "{message}", "Messages read and not settled.", lambda each: each.pending),
    Gauge("archive_bus_dead_letters", "{message}", "Dead letters of the group.", lambda each: each.dead),
    Gauge(
        "archive_bus_oldest_seconds",
        "s",
        "Age of the oldest message that the group has not settled, 0 when there is none.",
        lambda each: max(0.0, time.time() - each.oldest_ms / 1000) if each.oldest_ms else 0.0,
    ),
)
MESSAGES = "archive_bus_messages"
ABOUT_MESSAGES = "Messages by what became of them."


@dataclass(frozen=True, slots=True)
class Sample:
    """How a lane stands and what became of its messages, as one process sees it."""

    stream: str
    partition: str
    backlog: Backlog | None
    counts: Counter[str]

    def beside(self, other: "Sample") -> "Sample":
        """Return the sample of two readers of one lane."""
        counts = Counter(self.counts)
        counts.update(other.counts)  # unlike a sum, it keeps what is 0
        return replace(self, backlog=self.backlog or other.backlog, counts=counts)


class Metrics:
    """The figures of one service; told between ``start`` and ``stop``."""

    def __init__(self, service: str, samples: Callable[[], Iterable[Sample]]) -> None:
        self.service = service
        self._take = samples
        self._told = False

    def samples(self) -> Iterable[Sample]:
        """Return how the lanes stand, each once, as the formats demand."""
        lanes: dict[tuple[str, str], Sample] = {}
        for sample in self._take() if self._told else ():
            place = (sample.stream, sample.partition)
            lanes[place] = lanes[place].beside(sample) if place in lanes else sample
        return lanes.values()

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

    def stop(self) -> None:
        """Tell nothing more."""
        self._told = False
        _page().discard(self)

    def _observe(self, gauge: Gauge, options: CallbackOptions) -> Iterator[Observation]:
        del options
        for sample in self.samples():
            if (value := _read(gauge, sample)) is not None:
                yield Observation(value, self._labels(sample))

    def _count(self, options: CallbackOptions) -> Iterator[Observation]:
        del options
        for sample in self.samples():
            for outcome, count in sample.counts.items():
                yield Observation(count, {**self._labels(sample), OUTCOME: outcome})

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
        taken = [(each.service, sample) for each in tuple(self._services) for sample in each.samples()]
        for gauge in GAUGES:
            family = GaugeMetricFamily(gauge.name, gauge.about, labels=LABELS)
            for service, sample in taken:
                if (value := _read(gauge, sample)) is not None:
                    family.add_metric([service, sample.stream, sample.partition], value)
            yield family
        counter = CounterMetricFamily(MESSAGES, ABOUT_MESSAGES, labels=(*LABELS, OUTCOME))
        for service, sample in taken:
            for outcome, count in sample.counts.items():
                counter.add_metric([service, sample.stream, sample.partition, outcome], count)
        yield counter


@cache
def _page() -> _Page:
    """Return the page of this process, made on the first call."""
    page = _Page()
    REGISTRY.register(page)
    return page


def _read(gauge: Gauge, sample: Sample) -> float | None:
    return gauge.read(sample.backlog) if sample.backlog else 0.0
