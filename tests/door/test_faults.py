"""What a client of the whole door gets for each fault that the gateway's README lists."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY

from archive_bus import Operator
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.fault_engine import FaultEngine, delta, sse
from archive_testkit.servers import RedisServer

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Say hello, please."}]}
WITHIN_S = 60.0


def asked(engine: FaultEngine) -> int:
    return sum(path == CHAT for path, _ in engine.received)


def data_of(text: str) -> list[str]:
    return [line[6:] for line in text.splitlines() if line.startswith("data: ")]


def text_of(text: str) -> str:
    chunks = [json.loads(data) for data in data_of(text) if data.startswith('{"object"')]
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


async def pair(door: Any) -> tuple[FaultEngine, FaultEngine]:
    """An engine that is asked first, and one that may take over."""
    first, spare = await door.engine("first"), await door.engine("spare")
    await door.open(default="first")
    await door.ready("first", "spare")
    return first, spare


async def single(door: Any, **facts: Any) -> FaultEngine:
    engine = await door.engine("only", **facts)
    await door.open()
    await door.ready("only")
    return engine


async def usage(door: Any) -> dict[str, Any]:
    """Return the first row that is booked."""
    async with asyncio.timeout(WITHIN_S):
        while not (rows := (await door.http.get("/v1/usage")).json()["rows"]):
            await asyncio.sleep(0.05)
    return rows[0]


async def test_busy_engine_gives_way_to_another(door: Any) -> None:
    first, spare = await pair(door)
    first.refuses(429, retry_after_s=7)
    reply = await door.ask(stream=True)
    assert (text_of(reply.text), data_of(reply.text)[-1]) == ("Hello", "[DONE]")
    assert reply.headers["x-archive-engine"] == "spare"
    assert (asked(first), asked(spare)) == (1, 1)


async def test_retry_after_of_only_engine_is_passed_through(door: Any) -> None:
    engine = await single(door)
    engine.refuses(429, retry_after_s=7)
    reply = await door.ask()
    assert (reply.status_code, reply.headers["retry-after"], asked(engine)) == (429, "7", 1)
    assert reply.headers["x-archive-engine"] == "only"
    assert float(reply.headers["x-archive-overhead-ms"]) >= 0


async def test_broken_engine_is_retried_then_left(door: Any) -> None:
    first, spare = await pair(door)
    first.refuses(500)
    assert text_of((await door.ask(stream=True)).text) == "Hello"
    spare.refuses(500)
    before = asked(first) + asked(spare)
    reply = await door.ask()
    assert reply.status_code in {500, 503}
    assert 1 <= asked(first) + asked(spare) - before <= 5


async def test_bad_key_asks_no_engine(door: Any) -> None:
    engine = await single(door)
    reply = await door.http.post(CHAT, json=ASKED, headers={"authorization": "Bearer wrong"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    assert asked(engine) == 0


async def test_cut_stream_is_said_and_metered(door: Any) -> None:
    engine = await single(door)
    engine.cuts("Hel", "lo")
    reply = await door.ask(stream=True)
    assert text_of(reply.text) == "Hello"
    assert json.loads(data_of(reply.text)[-1])["error"]["code"] == "upstream_cut"
    row = await usage(door)
    assert (row["requests"], row["cut"], row["prompt_tokens"], row["completion_tokens"]) == (1, 1, 4, 2)


async def test_cut_stream_goes_on_when_asked(door: Any) -> None:
    first, spare = await pair(door)
    first.cuts("Hel")
    spare.answers("lo")
    reply = await door.http.post(CHAT, json=ASKED | {"stream": True}, headers={"x-archive-continue": "1"})
    assert (text_of(reply.text), data_of(reply.text)[-1]) == ("Hello", "[DONE]")


async def test_bad_chunk_is_skipped_and_counted(door: Any, within: Any) -> None:
    def bad() -> float:
        labels = {"engine": "only"}
        return REGISTRY.get_sample_value("archive_engine_bad_chunks_total", labels) or 0.0

    engine, before = await single(door), bad()
    engine.pieces = [sse(delta("Hel"), "{broken", "[1]", delta("lo", finish="stop"), "[DONE]")]
    reply = await door.ask(stream=True)
    assert (text_of(reply.text), data_of(reply.text)[-1]) == ("Hello", "[DONE]")
    await within(lambda: bad() - before == 2)


@pytest.mark.parametrize("pieces", [(), ("Hel",)], ids=["before the first token", "after it"])
async def test_stall_is_bridged_and_ends(door: Any, monkeypatch: pytest.MonkeyPatch, pieces: tuple[str, ...]) -> None:
    monkeypatch.setattr("archive_gateway.routes.openai.chat.PING_S", 0.3)
    engine = await single(door, first_token_s=1.5, idle_s=1.5)
    engine.stalls(*pieces)
    reply = await door.ask(stream=True)
    assert ": ping\n\n" in reply.text
    assert text_of(reply.text) == "".join(pieces)
    assert json.loads(data_of(reply.text)[-1])["error"]["code"] == "upstream_stalled"


@pytest.mark.parametrize("stream", [False, True])
async def test_leaver_stops_the_engine(door: Any, within: Any, stream: bool) -> None:
    engine = await single(door, first_token_s=120.0, idle_s=120.0)
    engine.stalls()
    asking = asyncio.ensure_future(door.ask(stream=stream))
    await within(lambda: asked(engine))
    asking.cancel()
    async with asyncio.timeout(WITHIN_S):
        await engine.left.wait()
    assert asked(engine) == 1


@contextmanager
def process(module: str, places: dict[str, Any], **more: str) -> Generator[subprocess.Popen[bytes]]:
    """Run a service as a process of its own, for a death that nothing softens."""
    shared = {"ARCHIVE_BUS_URL": "bus_url", "ARCHIVE_STATE_URL": "state_url", "ARCHIVE_BLOBS_URL": "blobs_url"}
    env = {**os.environ, **{name: places[key] for name, key in shared.items()}, "ARCHIVE_HEALTH_PORT": "0", **more}
    running = subprocess.Popen([sys.executable, "-m", module], env=env, stdout=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("told", [False, True], ids=["before the first token", "after it"])
async def test_killed_worker_is_replaced_or_said(door: Any, within: Any, told: bool) -> None:
    engine = await door.engine("spare")
    await door.open(default="doomed")
    engine.stalls(*["Hel"] * told)
    named = {
        "ENGINE_POOL": "doomed",
        "ENGINE_NAME": "doomed",
        "ENGINE_BASE_URL": engine.url,
        "ENGINE_HEARTBEAT_S": "0.3",
    }
    with process("archive_engine", door.places, **named) as doomed:
        await door.ready("doomed", "spare")
        asking = asyncio.ensure_future(door.ask(stream=True))
        await within(lambda: asked(engine))
        await asyncio.sleep(0.5)
        engine.answers("Hel", "lo")
        doomed.send_signal(signal.SIGKILL)
        async with asyncio.timeout(100):
            reply = await asking
    last = data_of(reply.text)[-1]
    assert text_of(reply.text) == ("Hel" if told else "Hello")
    assert (last == "[DONE]") is not told
    assert not told or json.loads(last)["error"]["code"] == "interrupted"


async def test_killed_router_is_replaced(door: Any, within: Any) -> None:
    with process("archive_router", door.places) as doomed:
        async with door.gateway() as (_, http):
            # A router that has just started waits for word of an engine: the request is in its hands.
            asking = asyncio.ensure_future(http.post(CHAT, json=ASKED | {"stream": True}))
            await taken(door.places["bus_url"])
            doomed.send_signal(signal.SIGKILL)
            doomed.wait()
            await door.engine("only")
            async with door.router(), asyncio.timeout(100):
                reply = await asking
    assert (text_of(reply.text), data_of(reply.text)[-1]) == ("Hello", "[DONE]")


async def taken(url: str) -> None:
    """Wait until somebody has a chat request in hand."""
    async with Operator(url, url) as operator, asyncio.timeout(WITHIN_S):
        while True:
            reports = [report for report in await operator.streams() if report.stream == CHAT_REQUESTS.name]
            if any(group.pending for report in reports for group in report.groups):
                return
            await asyncio.sleep(0.02)


async def test_stream_ends_when_server_restarts(frail_door: Any, redis_server: RedisServer, within: Any) -> None:
    engine = await frail_door.engine("only")
    await frail_door.open(request_timeout_s=60.0)
    await frail_door.ready("only")
    engine.answers(*(f"w{number} " for number in range(40)), pause_s=0.1)
    heard: list[str] = []

    async def listen() -> None:
        async with frail_door.http.stream("POST", CHAT, json=ASKED | {"stream": True}) as reply:
            async for piece in reply.aiter_text():
                heard.append(piece)  # noqa: PERF401 - what came before a failure counts

    listening = asyncio.ensure_future(listen())
    await within(lambda: "w3" in "".join(heard))
    redis_server.kill()
    await asyncio.to_thread(redis_server.start)
    async with asyncio.timeout(WITHIN_S):
        await listening
    words = text_of("".join(heard)).split()
    assert words == [f"w{number}" for number in range(len(words))]
    last = data_of("".join(heard))[-1]
    assert (last == "[DONE]" and len(words) == 40) or "error" in json.loads(last)
