"""What Prometheus and OpenTelemetry hear of a bus."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from bus_peers import CHAT, bus_of, client_of
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from archive_bus import Bus, BusUnavailable, Delivery, Reject, Retry, _consumer, _metrics, _writer
from archive_bus._durations import Durations
from archive_bus._redis import RedisTransport
from archive_contracts.base import Problem
from archive_contracts.chat import ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.waiting import eventually

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
        assert told("archive_bus_lag_unknown")() == told("archive_bus_in_flight")() == 0
        assert told("archive_bus_handler_seconds_count", outcome="done")() == 2
        assert told("archive_bus_handler_seconds_bucket", outcome="rejected", le="+Inf")() == 1
        assert (told("archive_bus_loop_age_seconds")() or 0) < 60
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


async def test_second_delivery_is_counted(redis_url: str) -> None:
    tried: list[str] = []

    async def again(delivery: Delivery[ChatRequested]) -> None:
        tried.append(delivery.message.model)
        if len(tried) == 1:
            raise Retry("not yet", delay_s=0.0)

    async with bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: again})
        await router.publish(CHAT, to=CHAT_REQUESTS)
        await eventually(lambda: told("archive_bus_messages_total", outcome="done")() == 1)
        assert told("archive_bus_redelivered_total")() == 1
        assert told("archive_bus_handler_seconds_count", outcome="failed")() == 1


def test_durations_add_up() -> None:
    one, other = Durations(), Durations()
    for seconds in (0.001, 0.005, 1.0):
        one.note("done", seconds)
    other.note("done", 1000.0)
    other.note("failed", 0.3)
    told = {outcome: (runs, seconds) for outcome, runs, seconds in one + other}
    assert told["done"] == ((2, 0, 0, 0, 1, 0, 0, 0, 1), pytest.approx(1001.006))
    assert told["failed"] == ((0, 0, 0, 1, 0, 0, 0, 0, 0), pytest.approx(0.3))


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
async def test_absent_group_has_no_lag(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(_: Delivery[ChatRequested]) -> None:
        await asyncio.sleep(600)

    async def refuse(*_: object, **__: object) -> None:
        raise BusUnavailable("the group is to stay away")

    async with bus_of("router", redis_url, grace_s=0.1) as router, client_of(redis_url) as client:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: wait}, concurrency=1)
        for _ in range(9):
            await router.publish(CHAT, to=CHAT_REQUESTS)
        await eventually(lambda: bool(told("archive_bus_lag")() and told("archive_bus_pending")()))
        monkeypatch.setattr(RedisTransport, "ensure", refuse)
        await client.delete(CHAT_REQUESTS.physical())
        await eventually(lambda: told("archive_bus_lag")() == told("archive_bus_pending")() == 0)
        assert told("archive_bus_lag_unknown")() == told("archive_bus_oldest_seconds")() == 0


async def test_closed_bus_is_let_go(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = MeterProvider([InMemoryMetricReader()])
    monkeypatch.setattr(_metrics, "get_meter", provider.get_meter)

    async def opened() -> "weakref.ref[Bus]":
        async with bus_of("router", redis_url) as router:
            return weakref.ref(router)

    closed = await opened()
    gc.collect()
    assert closed() is None
    provider.shutdown()


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
