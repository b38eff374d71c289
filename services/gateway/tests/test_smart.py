"""Universal AI Tools' router and Archive-AI's monitor: the fields that their clients read."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from archive_bus import Delivery
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.engine import EngineRegistered, ModelCard
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import CHAT_REQUESTS, ENGINE_EVENTS, MEMORY_QUERIES
from archive_testkit.waiting import eventually

MESSAGES = [{"role": "user", "content": "hi", "odd": 1}]


@pytest.fixture
async def engines(gateway: Any, bus_as: Any) -> None:
    def worker(name: str, *, healthy: bool) -> EngineRegistered:
        return EngineRegistered(
            worker=name,
            engine=name,
            pool="p",
            models=(ModelCard(id="m"),),
            capabilities=("chat",),
            slots=1,
            healthy=healthy,
            base_url="http://e",
        )

    async with bus_as("engine") as bus:
        await bus.publish(worker("sick", healthy=False), to=ENGINE_EVENTS)
        await bus.publish(worker("well", healthy=True), to=ENGINE_EVENTS)
        await eventually(lambda: gateway.info()["models"])


async def test_smart_asks_the_smart_profile(gateway: Any, router: Any) -> None:
    asked = {"messages": MESSAGES, "model": "x", "temperature": 0.5, "max_tokens": 9}
    reply = await gateway.http.post("/smart", json=asked)
    assert reply.json() == {"response": "Hello", "model": "m", "provider": "bundled", "status": "success"}
    [request] = router.requests
    assert request.model == "smart"
    assert json.loads(request.body) == {"model": "smart", "messages": MESSAGES, "temperature": 0.5, "max_tokens": 9}


async def test_smart_streams_pieces(gateway: Any, router: Any) -> None:
    reply = await gateway.http.post("/smart", json={"messages": MESSAGES, "stream": True})
    pieces = [line[6:] for line in reply.text.splitlines() if line]
    assert pieces[-1] == "[DONE]"
    assert [json.loads(piece)["content"] for piece in pieces[:-1]] == ["Hel", "lo"]
    assert router.requests[0].stream


async def test_smart_says_why_a_stream_broke(gateway: Any, peer: Any) -> None:
    async def break_off(delivery: Delivery[ChatRequested]) -> None:
        await delivery.emit(ChatDelta(body='{"choices":[{"index":0,"delta":{"content":"Hel"}}]}'))
        await delivery.fail(Problem(code="upstream_cut", message="Cut.", next_step="Again.", status=502))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: break_off}):
        reply = await gateway.http.post("/smart", json={"messages": MESSAGES, "stream": True})
    first, last = [json.loads(line[6:]) for line in reply.text.splitlines() if line]
    assert first == {"content": "Hel"}
    assert last == {"error": "Cut. Again.", "status": "failed"}


@pytest.fixture
async def broken(peer: Any) -> AsyncIterator[None]:
    async def refuse(delivery: Delivery[ChatRequested]) -> None:
        await delivery.fail(Problem(code="no_engine", message="None.", next_step="Add one.", status=503))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: refuse}):
        yield


async def test_smart_tells_failure_in_status(gateway: Any, broken: None) -> None:
    reply = await gateway.http.post("/smart", json={"messages": MESSAGES})
    assert (reply.status_code, reply.json()) == (200, {"error": "None. Add one.", "status": "failed"})
    assert (await gateway.http.post("/smart", json={"messages": []})).status_code == 400
    no_number = '{"messages":[{"role":"user","content":"x"}],"temperature":NaN}'
    assert (await gateway.http.post("/smart", content=no_number)).status_code == 400


async def test_providers_tell_their_health(gateway: Any, engines: None) -> None:
    found = (await gateway.http.get("/providers/health")).json()
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "status": "healthy",
        "providers": {"sick": False, "well": True},
        "healthy_providers": ["well"],
        "total_providers": 2,
        "healthy_count": 1,
    }


async def test_guardrails_are_counted(gateway: Any, engines: None) -> None:
    found = (await gateway.http.get("/guardrails/metrics")).json()
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "current_concurrent_requests": 0,
        "max_concurrent_requests": 1000,
        "active_rate_limits": 0,
        "active_circuit_breakers": 1,
    }


async def test_metrics_have_the_originals_fields(gateway: Any, engines: None, peer: Any) -> None:
    async def count(delivery: Delivery[GetLibraryStats]) -> None:
        await delivery.reply(LibraryStats(documents=1, chunks=2, vectors=2, memories=7))

    async with peer("memory", MEMORY_QUERIES, {GetLibraryStats: count}):
        found = (await gateway.http.get("/metrics/")).json()
    assert set(found) == {"uptime_seconds", "system", "memory_stats", "services", "version"}
    assert found["memory_stats"]["total_memories"] == 7
    assert found["services"][1] == {"name": "well", "status": "healthy", "url": "http://e"}
    assert found["system"]["memory_total_mb"] > 0


async def test_health_says_how_memory_listens(gateway: Any, engines: None, bus_as: Any) -> None:
    found = (await gateway.http.get("/health")).json()
    assert (found["vorpal_url"], found["vorpal_model"]) == ("http://e", "m")
    assert (found["status"], found["service"]) == ("healthy", "archive-gateway")
    assert found["version"]
    assert found["timestamp"].endswith("Z")
    assert found["async_memory"] == {"enabled": True, "start_from_latest": False, "last_id": "0-0", "stream_length": 0}


async def test_rerank_travels_untouched(gateway: Any, peer: Any) -> None:
    seen: list[ChatRequested] = []

    async def order(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.message)
        body = '{"results":[{"index":1,"relevance_score":0.5}],"odd":null}'
        await delivery.reply(ChatCompleted(engine="e", pool="p", model="r", body=body))

    raw = '{"model":"r",  "query":"q","documents":["a",{"text":"b"}],"top_n":1,"odd":1}'
    async with peer("router", CHAT_REQUESTS, {ChatRequested: order}):
        reply = await gateway.http.post("/v1/rerank", content=raw)
    assert reply.text.endswith('"odd":null}')
    assert (seen[0].kind, seen[0].needs, seen[0].body) == ("rerank", ("rerank",), raw)
    refused = await gateway.http.post("/v1/rerank", json={"model": "r", "query": "q", "documents": []})
    assert refused.status_code == 400
