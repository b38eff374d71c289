"""Spans: one provider per service, and W3C context as two strings."""

import uuid
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracerProvider, Span, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from archive_telemetry._settings import EdgeSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

_FLUSH_S = 3.0
_service: ContextVar[str] = ContextVar("archive_service", default="archive")


def inject() -> tuple[str, str]:
    """Return `(traceparent, tracestate)` of the current span; empty strings outside a trace."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", ""), carrier.get("tracestate", "")


def extract(traceparent: str, tracestate: str = "") -> Context:
    """Return the context a message was sent in, to pass as `context=` of a new span.

    Malformed or absent values give an empty context: a broken header starts a new trace, never an error.
    """
    carrier = {"traceparent": traceparent, "tracestate": tracestate}
    return TraceContextTextMapPropagator().extract(carrier, context=Context())


def tracer_for(name: str) -> Tracer:
    """Return the tracer whose spans carry `service.name=name`, whatever else runs in this process.

    Where nothing is exported it is one that does nothing, which is cheaper than spans that nobody records.
    """
    provider = trace.get_tracer_provider()
    if isinstance(provider, ServiceTracers):
        return provider.for_service(name).get_tracer(name)
    return trace.get_tracer(name) if EdgeSettings.from_env().trace_export else NoOpTracerProvider().get_tracer(name)


@contextmanager
def service_scope(name: str) -> Generator[None]:
    """Attribute the spans that libraries start inside, in this task and its children, to one service."""
    token = _service.set(name)
    try:
        yield
    finally:
        _service.reset(token)


def configure_traces(*, export: bool) -> "ServiceTracers":
    """Install the tracer provider of the process.

    Without export a span only passes on the context it was started in: nothing is recorded, and neither the SDK
    nor the exporter is imported.
    """
    tracers = ServiceTracers(export=export)
    trace.set_tracer_provider(tracers)
    return tracers


class ServiceTracers(TracerProvider):
    """Several services' providers behind OpenTelemetry's one global provider.

    A library asks the global provider once for its tracer; which service a span belongs to is decided when the
    span starts. All providers share one batch processor: one queue, one thread, one connection.
    """

    def __init__(self, *, export: bool) -> None:
        self._providers: dict[str, TracerProvider] = {}
        self._lock = Lock()
        self._processor = _otlp_processor() if export else None

    def for_service(self, name: str) -> TracerProvider:
        """Return the provider of one service, made on the first call."""
        found = self._providers.get(name)
        if found is not None:
            return found
        with self._lock:
            return self._providers.setdefault(name, self._new_provider(name))

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        """Return a tracer that picks its service per span."""
        return _ServiceTracer(self, args, kwargs)

    def tracer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tracer:
        """Return the tracer of that scope in the service running now."""
        return self.for_service(_service.get()).get_tracer(*args, **kwargs)

    def shutdown(self) -> bool:
        """Send what is queued, waiting at most three seconds; tell whether everything was handed over.

        The exporter retries for longer than a process may take to end, and has no bound of its own.
        """
        if self._processor is None:
            return True
        sender = Thread(target=self._processor.shutdown, name="trace-flush", daemon=True)
        sender.start()
        sender.join(_FLUSH_S)
        return not sender.is_alive()

    def _new_provider(self, name: str) -> TracerProvider:
        if self._processor is None:
            return NoOpTracerProvider()
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as SdkProvider

        resource = Resource.create(
            {"service.name": name, "service.namespace": "archive", "service.instance.id": str(uuid.uuid4())}
        )
        provider = SdkProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        return provider


class _ServiceTracer(Tracer):
    def __init__(self, tracers: ServiceTracers, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._tracers = tracers
        self._args = args
        self._kwargs = kwargs
        self._by_service: dict[str, Tracer] = {}

    def start_span(self, *args: Any, **kwargs: Any) -> Span:
        return self._current().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._current().start_as_current_span(*args, **kwargs)

    def _current(self) -> Tracer:
        service = _service.get()
        tracer = self._by_service.get(service)
        if tracer is None:
            tracer = self._by_service[service] = self._tracers.tracer(self._args, self._kwargs)
        return tracer


def _otlp_processor() -> "BatchSpanProcessor":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter())
