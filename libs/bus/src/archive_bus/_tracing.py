"""A span for each hop, joined over the stream by ``traceparent`` and ``tracestate``.

Names and attributes follow OpenTelemetry's messaging conventions. A message is handled singly, so its processing span
is a child of the span that sent it.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

from opentelemetry.context import Context, get_current
from opentelemetry.trace import SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from archive_contracts.envelope import Envelope
from archive_contracts.streams import Stream

_PROPAGATOR = TraceContextTextMapPropagator()


def traceparent_of() -> str:
    """Return the current span as a W3C ``traceparent``, or nothing outside a recorded trace."""
    if not get_current():
        return ""  # what a message costs that nobody traces
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent", "")


def parent_of(envelope: Envelope) -> Context:
    """Return the context that the sender of an envelope was in."""
    return _PROPAGATOR.extract({"traceparent": envelope.traceparent, "tracestate": envelope.tracestate}, Context())


@contextmanager
def sending(tracer: Tracer | None, stream: Stream, envelope: Envelope) -> Generator[Envelope, None, None]:
    """Yield the envelope to send, inside a producer span when traces are recorded."""
    if tracer is None:
        yield envelope
        return
    parent = parent_of(envelope) if envelope.traceparent else None
    with tracer.start_as_current_span(
        f"send {stream.name}", parent, SpanKind.PRODUCER, attributes=_attributes(stream, envelope, "send")
    ):
        yield replace(envelope, traceparent=traceparent_of() or envelope.traceparent)


@contextmanager
def receiving(tracer: Tracer | None, stream: Stream, envelope: Envelope) -> Generator[str, None, None]:
    """Yield the ``traceparent`` that outputs inherit, inside a consumer span when traces are recorded."""
    if tracer is None:
        yield envelope.traceparent
        return
    with tracer.start_as_current_span(
        f"process {stream.name}",
        parent_of(envelope),
        SpanKind.CONSUMER,
        attributes=_attributes(stream, envelope, "process"),
    ):
        yield traceparent_of()


def _attributes(stream: Stream, envelope: Envelope, operation: str) -> dict[str, str]:
    return {
        "messaging.system": "redis",
        "messaging.destination.name": stream.name,
        "messaging.operation.name": operation,
        "messaging.message.id": envelope.id,
        "messaging.message.conversation_id": envelope.correlation,
        "archive.message.type": envelope.type,
    }
