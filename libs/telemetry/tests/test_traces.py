"""Spans, as a collector receives them."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, use_span

from archive_telemetry import EdgeSettings, extract, inject

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector(ThreadingHTTPServer):
    """Keeps (service, span name, trace id, parent id) of what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[tuple[str, str, str, str]] = []


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {item.key: item.value.string_value for item in group.resource.attributes}
            for span in (span for scope in group.scope_spans for span in scope.spans):
                found = (names["service.name"], span.name, span.trace_id.hex(), span.parent_span_id.hex())
                self.server.spans.append(found)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Stay silent."""


@pytest.fixture
def collector() -> Generator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_shutdown_flushes_spans(launch: Any, collector: Collector) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
    code, log = launch("traces", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint).until_ready().stop()
    assert code == 0
    spans = {name: (service, trace, parent) for service, name, trace, parent in collector.spans}
    assert spans["outer"] == ("tracing", TRACE, "b7ad6b7169203331")
    assert spans["inner"][:2] == ("edge", TRACE)
    line = next(json.loads(line) for line in log.splitlines() if '"inside"' in line)
    assert (line["trace_id"], line["span_id"]) == (TRACE, spans["inner"][2])


async def listen(told: AsyncIterator[Any], names: set[str]) -> None:
    async for item in told:
        names.add(item.name)


async def test_foreign_receiver_hears_both_signals(launch: Any) -> None:
    tap = pytest.importorskip("oteltap", reason="oteltap is built for Linux on x86-64 alone")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = set[str]()
    settings = tap.OtelTapHttpProtobufReceiverSettings(http_port=port)
    async with tap.OtelTapHttpProtobufReceiver(settings) as receiver, asyncio.TaskGroup() as tasks:
        streams = receiver.stream_traces(), receiver.stream_metrics()
        readers = [tasks.create_task(listen(stream, names)) for stream in streams]
        service = launch("traces", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
        code, _ = await asyncio.to_thread(lambda: service.until_ready().stop())
        async with asyncio.timeout(60):
            while not {"outer", "inner", "edge.traced"} <= names:
                await asyncio.sleep(0.05)
        for reader in readers:
            reader.cancel()
    assert code == 0


@pytest.mark.parametrize(("left_out", "sent"), [("METRICS", (True, False)), ("TRACES", (False, True))])
def test_signal_can_be_left_out(left_out: str, sent: tuple[bool, bool]) -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", f"OTEL_{left_out}_EXPORTER": "none"}
    settings = EdgeSettings.from_env(told)
    assert (settings.trace_export, settings.metric_export) == sent


def test_shared_process_keeps_names(launch: Any, collector: Collector) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_address[1]}/v1/traces"
    launch("duo_traces", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=endpoint).until_ready().stop()
    assert sorted(service for service, name, *_ in collector.spans if name == "inner") == ["memory", "router"]


def test_absent_collector_delays_nothing(launch: Any) -> None:
    code, _ = launch("traces", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9").until_ready().stop()
    assert code == 0


def test_without_endpoint_context_passes(launch: Any) -> None:
    _, log = launch("traces").until_ready().stop()
    assert next(json.loads(line) for line in log.splitlines() if '"inside"' in line)["trace_id"] == TRACE


def test_import_loads_no_exporter() -> None:
    heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "rich", "requests")
    code = f"import sys, archive_telemetry; print([m for m in sys.modules if m.startswith({heavy})])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@given(trace=st.integers(1, 2**128 - 1), span=st.integers(1, 2**64 - 1), flags=st.sampled_from([0, 1]))
def test_context_round_trips(trace: int, span: int, flags: int) -> None:
    sent = SpanContext(trace, span, is_remote=False, trace_flags=TraceFlags(flags))
    with use_span(NonRecordingSpan(sent)):
        traceparent, tracestate = inject()
    received = get_current_span(extract(traceparent, tracestate)).get_span_context()
    assert (received.trace_id, received.span_id, received.trace_flags) == (trace, span, flags)


@given(traceparent=st.text(), tracestate=st.text())
def test_malformed_context_is_empty(traceparent: str, tracestate: str) -> None:
    assert not get_current_span(extract(traceparent, tracestate)).get_span_context().is_valid


def test_outside_trace_injects_nothing() -> None:
    assert inject() == ("", "")
