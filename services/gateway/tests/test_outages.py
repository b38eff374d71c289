"""Either server gone: said within a second, and over when it is back."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from archive_bus import BusOptions, Delivery, connect
from archive_contracts.chat import ChatCompleted, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.servers import RedisServer

ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def state_server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.stop()


@pytest.mark.parametrize("role", ["bus", "state"])
@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_server_gone_is_said(
    start: Any, redis_server: RedisServer, state_server: RedisServer, role: str, how: str
) -> None:
    gone = redis_server if role == "bus" else state_server
    async with start(bus_url=redis_server.url, state_url=state_server.url) as gateway:
        assert (await gateway.http.get("/readyz")).status_code == 200
        getattr(gone, how)()
        for stream in (False, True):
            reply = await gateway.http.post("/v1/chat/completions", json=ASKED | {"stream": stream})
            assert reply.status_code == 503
            assert int(reply.headers["retry-after"]) >= 1
            assert reply.json()["error"]["code"] == "bus_unavailable"
        for path in ("/v1/models", "/library/stats", "/health", "/readyz"):
            refused = await gateway.http.get(path)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert (await gateway.http.get("/livez")).status_code == 200
        if role == "bus":
            assert (await gateway.http.get("/v1/jobs/j1")).status_code == 503
        if how == "pause":
            gone.resume()


async def answer(delivery: Delivery[ChatRequested]) -> None:
    await delivery.reply(ChatCompleted(engine="e", pool="p", model="m", body="{}"))


async def test_servers_back_serve_again(start: Any, redis_server: RedisServer) -> None:
    url = redis_server.url
    async with (
        start(bus_url=url, state_url=url) as gateway,
        connect(url, url, BusOptions(service="router", grace_s=0.2)) as router,
    ):
        router.subscribe(CHAT_REQUESTS, {ChatRequested: answer})
        assert (await gateway.http.post("/v1/chat/completions", json=ASKED)).status_code == 200
        redis_server.kill()
        assert (await gateway.http.post("/v1/chat/completions", json=ASKED)).status_code == 503
        redis_server.start()
        until = time.monotonic() + 20
        while (await gateway.http.post("/v1/chat/completions", json=ASKED)).status_code != 200:
            assert time.monotonic() < until
            await asyncio.sleep(0.2)


async def test_ready_gateway_refuses_nothing(start: Any, redis_server: RedisServer) -> None:
    url = redis_server.url
    async with (
        start(bus_url=url, state_url=url) as gateway,
        connect(url, url, BusOptions(service="router", grace_s=0.2)) as router,
    ):
        router.subscribe(CHAT_REQUESTS, {ChatRequested: answer})
        redis_server.pause()
        assert (await gateway.http.post("/v1/chat/completions", json=ASKED)).status_code == 503
        redis_server.resume()
        until = time.monotonic() + 20
        while (await gateway.http.get("/readyz")).status_code != 200:
            assert time.monotonic() < until
        assert (await gateway.http.post("/v1/chat/completions", json=ASKED)).status_code == 200
