"""One trace from the client through the gateway to the next hop."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from archive_bus import Delivery
from archive_contracts.chat import ChatCompleted, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS

ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "x-request-id": "mine"}


@pytest.mark.parametrize("recorded", [True, False])
async def test_trace_goes_on_behind_gateway(
    start: Any, peer: Any, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    if recorded:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setattr("archive_gateway.app.tracer_for", provider.get_tracer)
    seen: list[tuple[str, str]] = []

    async def answer(delivery: Delivery[ChatRequested]) -> None:
        seen.append((delivery.envelope.traceparent, delivery.envelope.correlation))
        await delivery.reply(ChatCompleted(engine="e", pool="p", model="m", body="{}"))

    async with start() as gateway, peer("router", CHAT_REQUESTS, {ChatRequested: answer}):
        await gateway.http.post("/v1/chat/completions", json=ASKED, headers=PARENT)
    [(traceparent, correlation)] = seen
    assert traceparent.split("-")[1] == TRACE
    assert correlation == "mine"
    names = [span.name for span in spans.get_finished_spans()]
    assert ("POST /v1/chat/completions" in names) is recorded
