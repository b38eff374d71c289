"""What Prometheus and OpenTelemetry hear of a bus."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from bus_peers import CHAT, bus_of, client_of, eventually
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from archive_bus import Delivery, Reject, _consumer, _metrics, _writer
from archive_contracts.base import Problem
from archive_contracts.chat import ChatRequested
from archive_contracts.streams import CHAT_REQUESTS

LANE = {"service": "router", "stream": "chat.requests", "partition": "0"}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_consumer, "LOOK_S", 0.05)


async def handle(delivery: Delivery[ChatRequested]) -> None:
    if delivery.message.model == "bad":
        raise Reject(Problem(code="bad", message="bad"))


def told(name: str, **more: str) -> Callable[[], float | None]:
    return lambda: REGISTRY.get_sample_value(name, {**LANE, **more})


@pytest.mark.guarantee("G16")
async def test_prometheus_hears_of_each_lane(redis_url: str) -> None:
    async with bus_of("gateway", redis_url), bus_of("router", redis_url) as router:
        for model in ("good", "good", "bad"):
            await router.publish(CHAT.model_copy(update={"model": model}), to=CHAT_REQUESTS)
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        await eventually(lambda: told("archive_bus_messages_total", outcome="done")() == 2)
        await eventually(lambda: told("archive_bus_dead_letters")() == 1)
        assert told("archive_bus_messages_total", outcome="dead")() == 1
        await eventually(lambda: told("archive_bus_lag")() == told("archive_bus_oldest_seconds")() == 0)
        families = [family.name for family in text_string_to_metric_families(generate_latest().decode())]
        assert families.count("archive_bus_lag") == 1
    assert told("archive_bus_lag")() is None


async def test_two_readers_are_one_lane(redis_url: str) -> None:
    async with bus_of("router", redis_url) as router:
        for _ in range(2):
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        for _ in range(20):
            await router.publish(CHAT, to=CHAT_REQUESTS)
        await eventually(lambda: told("archive_bus_messages_total", outcome="done")() == 20)
        lines = generate_latest().decode().splitlines()
        assert len([line for line in lines if line.startswith("archive_bus_lag{")]) == 1


async def serve_for_ever(url: str) -> None:
    async with bus_of("router", url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        await asyncio.Event().wait()


async def test_refused_bus_tells_nothing_more(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writer, "OLDEST", (99, 0))
    with pytest.raises(ExceptionGroup):
        await serve_for_ever(redis_url)
    assert told("archive_bus_lag")() is None


@pytest.mark.guarantee("G16")
async def test_absent_group_has_no_lag(redis_url: str) -> None:
    async with bus_of("router", redis_url) as router, client_of(redis_url) as client:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        await eventually(lambda: told("archive_bus_lag")() == 0)
        await client.delete(CHAT_REQUESTS.physical())
        assert told("archive_bus_lag")() == 0


@pytest.mark.guarantee("G16")
async def test_opentelemetry_hears_the_same(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(_metrics, "get_meter", provider.get_meter)
    found: dict[str, Any] = {}

    def collected() -> bool:
        data = reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                found.update({metric.name: list(metric.data.data_points) for metric in scope.metrics})
        points = found.get("archive_bus_messages", [])
        return any(point.attributes["outcome"] == "done" and point.value == 1 for point in points)

    async with bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        await router.publish(CHAT, to=CHAT_REQUESTS)
        await eventually(collected)
    assert {"archive_bus_lag", "archive_bus_pending", "archive_bus_oldest_seconds"} <= found.keys()
    provider.shutdown()
