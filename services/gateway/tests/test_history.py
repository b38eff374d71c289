"""The figures of the past, as Archive-AI's page reads them."""

import json
import time
from dataclasses import asdict
from typing import Any

import pytest
from redis.asyncio import Redis

from archive_bus import BusUnavailable
from archive_gateway.adapters.history import KEY, SampleBook
from archive_gateway.domain.history import EVERY_S, Sample, Summary, Traffic, joined, summed_up
from archive_testkit.waiting import eventually

FIELDS = {
    "timestamp",
    "cpu_percent",
    "memory_mb",
    "memory_percent",
    "gpu_memory_used_mb",
    "gpu_memory_total_mb",
    "gpu_memory_percent",
    "request_count",
    "avg_latency",
    "error_rate",
    "vorpal_status",
    "goblin_status",
    "redis_status",
    "vorpal_tps",
    "goblin_tps",
}


def sample(at: float, *, cpu: float = 10.0, requests: int = 1, failed: int = 0) -> Sample:
    traffic = Traffic(requests=requests, failed=failed, seconds=requests * 2.0, tokens=30 * requests)
    return Sample(
        at=at, span_s=30.0, cpu_percent=cpu, memory_mb=100.0 + cpu, memory_percent=5.0, engines=1, traffic=traffic
    )


def test_samples_of_gateways_are_joined() -> None:
    first, later = joined([sample(EVERY_S), sample(EVERY_S + 1, cpu=30.0), sample(EVERY_S * 9)])
    assert (first.cpu_percent, first.traffic.requests, first.at) == (30.0, 2, EVERY_S + 1)
    assert later.traffic.requests == 1


def test_summary_weighs_by_requests() -> None:
    found = summed_up([sample(0, cpu=10.0, requests=3), sample(30, cpu=20.0, requests=1, failed=1)])
    assert found == Summary(
        avg_cpu=15.0,
        max_cpu=20.0,
        avg_memory=115.0,
        max_memory=120.0,
        total_requests=4,
        avg_latency=2.0,
        error_rate=25.0,
    )
    assert summed_up([]) == Summary()


async def test_requests_show_in_the_current_sample(gateway: Any, router: Any) -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    await gateway.http.post("/v1/chat/completions", json=asked)
    recorded = await gateway.http.post("/metrics/record?latency=3&success=false")
    current = (await gateway.http.get("/metrics/current")).json()
    assert recorded.json() == {"status": "recorded"}
    assert set(current) == FIELDS
    assert (current["request_count"], current["error_rate"], current["vorpal_status"]) == (2, 50.0, "unhealthy")
    assert current["avg_latency"] >= 1.5


async def test_history_tells_the_last_hours(gateway: Any, monkeypatch: pytest.MonkeyPatch, start: Any) -> None:
    monkeypatch.setattr("archive_gateway.adapters.history.EVERY_S", 0.05)
    async with start() as quick:
        await quick.http.post("/metrics/record?latency=2&success=false")

        async def kept() -> Any:
            found = (await gateway.http.get("/metrics/?hours=99")).json()
            return found if found["summary"]["total_requests"] else None

        await eventually(kept)
        found = await kept()
    assert (found["time_range"], found["summary"]["avg_latency"], found["summary"]["error_rate"]) == ("24h", 2.0, 100.0)
    assert set(found["metrics"][0]) == FIELDS
    assert (await gateway.http.delete("/metrics")).json() == {"status": "cleared"}
    assert (await gateway.http.get("/metrics?hours=1")).json()["metrics"] == []


async def test_figures_of_all_are_for_operators(start: Any) -> None:
    root = {"authorization": "Bearer root"}
    calls = [("GET", "?hours=1"), ("GET", "/current"), ("POST", "/record?latency=1"), ("DELETE", "")]
    async with start(api_key="root") as closed:
        asked = {"name": "k", "scopes": ["inference", "platform"]}
        made = await closed.http.post("/v1/keys", json=asked, headers=root)
        own = {"authorization": f"Bearer {made.json()['key']}"}
        for method, rest in calls:
            refused = await closed.http.request(method, f"/metrics{rest}", headers=own)
            allowed = await closed.http.request(method, f"/metrics{rest}", headers=root)
            assert (refused.status_code, allowed.status_code) == (403, 200)
        assert (await closed.http.get("/metrics", headers=own)).status_code == 200


@pytest.mark.parametrize("query", ["latency=-1", "latency=nan", "latency=inf", "", "latency=1&success=perhaps"])
async def test_odd_record_is_refused(gateway: Any, query: str) -> None:
    assert (await gateway.http.post(f"/metrics/record?{query}")).status_code == 400


async def test_other_releases_break_no_history(redis_url: str) -> None:
    book = SampleBook(redis_url, figures=None, engines=None, traffic=Traffic())  # pyright: ignore[reportArgumentType]
    kept = sample(time.time())
    known = asdict(kept)
    client: Any = Redis.from_url(redis_url)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
    async with client:
        await book.keep(kept)
        await client.zadd(KEY, {json.dumps({"at": kept.at}): kept.at, json.dumps(known | {"later": 1}): kept.at})
        found = await book.read(1)
    await book.close()
    assert found == [kept, kept]


async def test_history_without_server_is_said() -> None:
    book = SampleBook("redis://127.0.0.1:1", figures=None, engines=None, traffic=Traffic())  # pyright: ignore[reportArgumentType]
    with pytest.raises(BusUnavailable):
        await book.read(1)
    await book.close()
