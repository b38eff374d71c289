"""Start, probes, replicas, drain."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from archive_bus import BusOptions, Delivery, connect
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.jobs import JobQueued
from archive_contracts.streams import CHAT_REQUESTS, JOBS_JOURNAL
from archive_gateway.adapters.cancels import Canceller
from archive_telemetry import SettingError

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
CHUNK = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}'


async def test_probes_tell_the_truth(gateway: Any) -> None:
    health = await gateway.http.get("/health/")
    found = health.json()
    assert {name: found[name] for name in ("status", "service", "checks", "engines", "models")} == {
        "status": "healthy",
        "service": "archive-gateway",
        "checks": {"bus": None, "blobs": None},
        "engines": 0,
        "models": 0,
    }
    for path in ("/livez", "/readyz", "/"):
        assert (await gateway.http.get(path)).status_code == 200
    head = await gateway.http.head("/health")
    assert (head.status_code, head.content) == (200, b"")


async def test_replicas_share_a_port(start: Any, gateway: Any) -> None:
    port = int(gateway.url.rpartition(":")[2])
    async with start(port=port) as second:
        assert second.url == gateway.url
        assert (await second.http.get("/livez")).status_code == 200


async def test_unusable_address_is_named(start: Any) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with start(host="192.0.2.1", api_key="k"):
            pass
    assert caught.group_contains(SettingError, match=r"192\.0\.2\.1")


async def test_failure_behind_a_leaver_ends_nothing_else() -> None:
    async def broken() -> None:
        raise ValueError("a server says what nobody expects")

    async with connect("redis://127.0.0.1:1", "redis://127.0.0.1:1", BusOptions(service="gateway")) as bus:
        canceller = Canceller(bus)
        async with asyncio.TaskGroup() as tasks:
            canceller.use(tasks)
            canceller.later(broken())
            going_on = tasks.create_task(asyncio.sleep(0.05, "on"))
    assert going_on.result() == "on"


async def test_running_stream_survives_drain(start: Any, peer: Any) -> None:
    began = asyncio.Event()

    async def answer(delivery: Delivery[ChatRequested]) -> None:
        _ = delivery.emit(ChatDelta(body=CHUNK))
        began.set()
        await asyncio.sleep(0.5)
        await delivery.reply(ChatCompleted(engine="e", pool="p", model="m"))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: answer}), httpx.AsyncClient() as client:
        async with start() as gateway:
            asking = asyncio.ensure_future(client.post(f"{gateway.url}/v1/chat/completions", json=ASKED))
            await began.wait()
        reply = await asking
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{gateway.url}/livez")
    assert reply.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_what_outlasts_drain_is_told(start: Any, peer: Any, stream: bool) -> None:
    began = asyncio.Event()

    async def answer(delivery: Delivery[ChatRequested]) -> None:
        if stream:
            _ = delivery.emit(ChatDelta(body=CHUNK))
        began.set()
        await asyncio.sleep(60)

    async with peer("router", CHAT_REQUESTS, {ChatRequested: answer}), httpx.AsyncClient() as client:
        async with start(grace_s=1.5) as gateway:
            asked = {**ASKED, "stream": stream}
            asking = asyncio.ensure_future(client.post(f"{gateway.url}/v1/chat/completions", json=asked, timeout=60))
            await began.wait()
        reply = await asking
    said = json.loads(reply.text.rpartition("data: ")[2])
    assert (reply.status_code, said["error"]["code"]) == (200 if stream else 503, "gateway_leaving")


async def test_followers_are_let_go_on_drain(start: Any, bus_as: Any) -> None:
    async with bus_as("librarian") as bus, httpx.AsyncClient() as client:
        await bus.append(JobQueued(job_id="j1", kind="ingest"), to=JOBS_JOURNAL, entity="j1")
        async with start() as gateway:
            following = asyncio.ensure_future(client.get(f"{gateway.url}/v1/jobs/j1/events", timeout=20))
            await asyncio.sleep(0.2)
        assert (await following).text.count("event: job") == 1
