"""Our bus with every guarantee on, and the same with a span recorded for each message."""

import asyncio
from collections.abc import Callable

from callers import ask_at_once, publish_at_once
from contender import ANSWER, AT_A_TIME, CHAT, QUESTION
from meter import Meter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from archive_bus import Bus, BusOptions, Delivery, connect
from archive_contracts.chat import ChatRequested
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import CHAT_REQUESTS, MEMORY_QUERIES


class Ours:
    """archive_bus."""

    def __init__(self, url: str, *, tracer: Tracer | None = None) -> None:
        self._url = url
        self._tracer = tracer

    def _bus(self, service: str) -> Bus:
        return connect(self._url, self._url, BusOptions(service=service, tracer=self._tracer))

    async def fill(self, count: int) -> None:
        """Put messages there."""
        async with self._bus("gateway") as bus:
            for _ in range(count // 1000):
                await asyncio.gather(*(bus.publish(CHAT, to=CHAT_REQUESTS) for _ in range(1000)))

    async def consume(self, meter: Meter) -> None:
        """Handle as a service does."""
        done = asyncio.Event()

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            del delivery
            if meter.hit():
                done.set()

        async with self._bus("router") as bus:
            bus.subscribe(CHAT_REQUESTS, {ChatRequested: handle}, concurrency=AT_A_TIME)
            await done.wait()

    async def publish(self, meter: Meter, *, at_once: int) -> None:
        """Publish as a service does: idempotent, through an outage."""
        async with self._bus("gateway") as bus:
            await publish_at_once(lambda: bus.publish(CHAT, to=CHAT_REQUESTS), meter, at_once=at_once)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Answer as a service does."""

        async def answer(delivery: Delivery[GetLibraryStats]) -> None:
            await delivery.reply(ANSWER)

        async with self._bus("memory") as bus:
            bus.subscribe(MEMORY_QUERIES, {GetLibraryStats: answer}, concurrency=AT_A_TIME)
            ready()
            await asyncio.Event().wait()

    async def ask(self, count: int, *, at_once: int) -> list[float]:
        """Ask as the gateway does."""
        async with self._bus("gateway") as bus:
            await bus.request(QUESTION, LibraryStats, to=MEMORY_QUERIES)
            return await ask_at_once(
                lambda: bus.request(QUESTION, LibraryStats, to=MEMORY_QUERIES), count, at_once=at_once
            )


class Dropping(SpanExporter):
    """Takes spans as a collector would, and drops them."""

    def export(self, spans: "list[ReadableSpan]") -> SpanExportResult:  # pyright: ignore[reportIncompatibleMethodOverride] - its Sequence
        """Drop them."""
        del spans
        return SpanExportResult.SUCCESS


def traced(url: str) -> Ours:
    """Return our bus with a span for each message, batched for an exporter."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Dropping()))
    return Ours(url, tracer=provider.get_tracer("bench"))
