"""OpenTelemetry metrics of a process, exported beside its traces; Prometheus reads the same figures at `/metrics`."""

from collections.abc import Callable
from threading import Thread
from typing import Any

from opentelemetry import metrics

EVERY_MS = 15_000
_FLUSH_S = 3.0


def configure_meters(process: str, *, export: bool) -> Callable[[], bool]:
    """Send what libraries measure to the collector, under the name of the process; return what ends it.

    Without export nothing asks the instruments, and the SDK is not imported. Ending waits at most three seconds and
    tells whether everything was handed over.
    """
    if not export:
        return lambda: True
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=EVERY_MS)
    resource = Resource.create({"service.name": process, "service.namespace": "archive"})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    return lambda: _ended(provider)


def _ended(provider: Any) -> bool:
    sender = Thread(target=provider.shutdown, name="meter-flush", daemon=True)
    sender.start()
    sender.join(_FLUSH_S)
    return not sender.is_alive()
