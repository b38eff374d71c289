"""Streams whose state server goes away: what can be told of their logs, and what of them goes on."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from archive_bus import BusOptions, Delivery, connect
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.servers import RedisServer

CHAT = "/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
RESUMABLE = {"x-archive-resume": "1"}
WHOLE = [*(f'{{"number":{number}}}' for number in range(40)), "[DONE]"]


@pytest.fixture
def state_server() -> Iterator[RedisServer]:
    server = RedisServer(durable=True).start()
    yield server
    server.stop()


async def count(delivery: Delivery[ChatRequested]) -> None:
    """Stream numbers, slowly, until cancelled."""
    with delivery.cancellable():
        for number in range(40):
            _ = delivery.emit(ChatDelta(body=f'{{"number":{number}}}'))
            await asyncio.sleep(0.05)
        await delivery.reply(ChatCompleted(engine="e", pool="p", model="m"))


async def heard(reply: httpx.Response) -> list[str]:
    return [line[6:] async for line in reply.aiter_lines() if line.startswith("data: ")]


@asynccontextmanager
async def counting(start: Any, bus: RedisServer, state: RedisServer) -> AsyncGenerator[Any]:
    """A gateway, and a router that answers every chat by counting."""
    async with (
        start(bus_url=bus.url, state_url=state.url) as gateway,
        connect(bus.url, state.url, BusOptions(service="router", grace_s=0.2)) as router,
    ):
        router.subscribe(CHAT_REQUESTS, {ChatRequested: count})
        yield gateway


async def test_unreadable_log_is_no_cancelled_one(
    start: Any, redis_server: RedisServer, state_server: RedisServer
) -> None:
    async with counting(start, redis_server, state_server) as gateway:
        async with gateway.http.stream("POST", CHAT, json=ASKED) as reply:
            stream = reply.headers["x-archive-stream"]
        while "stream_cancelled" not in (await gateway.http.get(f"/v1/streams/{stream}")).text:
            pass
        state_server.kill()
        reply = await gateway.http.get(f"/v1/streams/{stream}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "bus_unavailable")


async def test_resumed_stream_says_that_its_log_is_out_of_reach(
    start: Any, redis_server: RedisServer, state_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archive_gateway.routes.openai.streams.OUTAGE_S", 0.2)
    async with counting(start, redis_server, state_server) as gateway:
        async with gateway.http.stream("POST", CHAT, json=ASKED, headers=RESUMABLE) as reply:
            stream = reply.headers["x-archive-stream"]
        async with gateway.http.stream("GET", f"/v1/streams/{stream}") as reply:
            state_server.kill()
            said = await heard(reply)
    assert said[:-1] == WHOLE[: len(said) - 1]
    assert '"bus_unavailable"' in said[-1]


async def test_streams_outlive_a_state_server_that_keeps_its_data(
    start: Any, redis_server: RedisServer, state_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("asking", "openai.streams"):
        monkeypatch.setattr(f"archive_gateway.routes.{module}.OUTAGE_S", 60.0)
    async with (
        counting(start, redis_server, state_server) as gateway,
        gateway.http.stream("POST", CHAT, json=ASKED, headers=RESUMABLE) as live,
        gateway.http.stream("GET", f"/v1/streams/{live.headers['x-archive-stream']}") as resumed,
        asyncio.timeout(60),
    ):
        state_server.kill()
        await asyncio.to_thread(state_server.start)
        assert await asyncio.gather(heard(live), heard(resumed)) == [WHOLE, WHOLE]
