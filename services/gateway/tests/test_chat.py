"""Chat completions over the real port, with a peer in the router's place."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import openai
import pytest

from archive_bus import Delivery
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.control import CancelRequested
from archive_contracts.streams import CHAT_REQUESTS, CONTROL
from archive_testkit.waiting import eventually

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
CHUNK = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}'


async def test_whole_answer_returns_verbatim(gateway: Any, router: Any) -> None:
    reply = await gateway.http.post("/v1/chat/completions", json=ASKED)
    assert reply.status_code == 200
    assert '"strange":null' in reply.text
    assert reply.headers["x-archive-engine"] == "bundled"
    assert float(reply.headers["x-archive-overhead-ms"]) >= 0
    assert reply.headers["x-request-id"].startswith("req_")
    assert reply.headers["openai-processing-ms"].isdigit()


async def test_body_reaches_router_untouched(gateway: Any, router: Any) -> None:
    body = '{"model":"m","weird": [1,  2],"messages":[{"role":"user","content":"first"},{"role":"user","content":"x"}]}'
    await gateway.http.post("/v1/chat/completions", content=body)
    [request] = router.requests
    assert request.body == body
    assert request.user_turn == "x"
    assert request.prompt_chars == 6


async def test_head_tells_what_is_needed(gateway: Any, router: Any) -> None:
    content = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    asked: dict[str, Any] = ASKED | {
        "messages": [{"role": "user", "content": content}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_schema", "json_schema": {}},
        "store": False,
    }
    await gateway.http.post("/v1/chat/completions/", json=asked, headers={"x-archive-session": "s1"})
    [request] = router.requests
    assert set(request.needs) == {"chat", "tools", "json_schema", "vision"}
    assert not request.store
    assert request.session == "s1"


async def test_stream_ends_with_done(gateway: Any, router: Any) -> None:
    async with gateway.http.stream("POST", "/v1/chat/completions", json=ASKED | {"stream": True}) as reply:
        lines = [line async for line in reply.aiter_lines() if line.startswith("data:")]
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert len(reply.headers["x-archive-stream"]) == 32
    assert reply.headers["x-archive-engine"] == "bundled"
    assert lines[-1] == "data: [DONE]"
    assert "".join(json.loads(line[6:])["choices"][0]["delta"]["content"] for line in lines[:-1]) == "Hello"


async def test_official_client_chats_both_ways(gateway: Any, router: Any) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        whole = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
        assert whole.choices[0].message.content == "Hello"
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(words) == "Hello"


async def test_completion_is_of_its_kind(gateway: Any, router: Any) -> None:
    await gateway.http.post("/v1/completions", json={"model": "m", "prompt": "Once", "suffix": "."})
    [request] = router.requests
    assert (request.kind, request.needs, request.store) == ("completion", ("completion",), False)


@pytest.mark.parametrize("stream", [False, True])
async def test_problem_before_first_byte_is_status(gateway: Any, peer: Any, stream: bool) -> None:
    async def refuse(delivery: Delivery[ChatRequested]) -> None:
        await delivery.fail(
            Problem(code="model_not_found", message="No.", next_step="Ask for m.", status=404, param="model")
        )

    async with peer("router", CHAT_REQUESTS, {ChatRequested: refuse}):
        reply = await gateway.http.post("/v1/chat/completions", json=ASKED | {"stream": stream})
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert error == {
        "message": "No. Ask for m.",
        "type": "not_found_error",
        "param": "model",
        "code": "model_not_found",
    }


async def test_retry_after_is_passed_on(gateway: Any, peer: Any) -> None:
    async def refuse(delivery: Delivery[ChatRequested]) -> None:
        await delivery.fail(Problem(code="rate_limit_exceeded", message="Slow down.", status=429, retry_after_s=6.2))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: refuse}):
        reply = await gateway.http.post("/v1/chat/completions", json=ASKED)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "7")


async def test_problem_after_first_byte_is_in_band(gateway: Any, peer: Any) -> None:
    async def break_off(delivery: Delivery[ChatRequested]) -> None:
        _ = delivery.emit(ChatDelta(body=CHUNK))
        await delivery.fail(Problem(code="engine_died", message="It broke.", status=502))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: break_off}):
        reply = await gateway.http.post("/v1/chat/completions", json=ASKED | {"stream": True})
    lines = [line for line in reply.text.splitlines() if line]
    assert reply.status_code == 200
    assert json.loads(lines[-1][6:])["error"]["code"] == "engine_died"
    assert "[DONE]" not in reply.text


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_client_cancels(gateway: Any, peer: Any, bus_as: Any, stream: bool) -> None:
    began: list[str] = []
    stopped: list[str] = []

    async def hang(delivery: Delivery[ChatRequested]) -> None:
        began.append(delivery.envelope.id)
        if stream:
            _ = delivery.emit(ChatDelta(body=CHUNK))
        with delivery.cancellable() as scope:
            await asyncio.sleep(60)
        if scope.cancelled_caught:
            stopped.append(delivery.envelope.id)

    async with peer("router", CHAT_REQUESTS, {ChatRequested: hang}):
        asking = asyncio.ensure_future(gateway.http.post("/v1/chat/completions", json=ASKED | {"stream": stream}))
        await eventually(lambda: began)
        asking.cancel()
        await eventually(lambda: stopped == began)
    async with bus_as("router") as bus:
        async for received in bus.follow(CONTROL, since=timedelta(minutes=1)):
            if received and isinstance(received.message, CancelRequested):
                assert received.message.target == began[0]
                break


async def test_answered_request_is_not_cancelled(gateway: Any, router: Any, bus_as: Any) -> None:
    await gateway.http.post("/v1/chat/completions", json=ASKED)
    async with bus_as("router") as bus:
        async for received in bus.follow(CONTROL, since=timedelta(minutes=1)):
            assert received is None
            break


async def test_silence_is_bridged_by_pings(gateway: Any, peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_gateway.routes.openai.chat.PING_S", 0.2)

    async def ponder(delivery: Delivery[ChatRequested]) -> None:
        await asyncio.sleep(0.7)
        await delivery.fail(Problem(code="late", message="Too late.", status=500))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: ponder}):
        reply = await gateway.http.post("/v1/chat/completions", json=ASKED | {"stream": True})
    assert reply.text.startswith(": ping\n\n")
    assert '"code": "late"' in reply.text


async def test_deadline_is_said(start: Any) -> None:
    async with start(request_timeout_s=0.3) as gateway:
        reply = await gateway.http.post("/v1/chat/completions", json=ASKED)
    assert reply.status_code == 504
    assert reply.headers["x-should-retry"] == "false"
    assert reply.json()["error"]["code"] == "request_timeout"


async def test_compat_chat_answers(gateway: Any, router: Any) -> None:
    reply = await gateway.http.post("/chat/", json={"message": "Hi"})
    assert reply.json() == {"response": "Hello", "engine": "bundled"}
    assert router.requests[0].user_turn == "Hi"


@pytest.mark.parametrize("stream", [False, True])
async def test_engines_headers_reach_the_client(gateway: Any, peer: Any, stream: bool) -> None:
    theirs = (("openai-model", "m-1"), ("x-ratelimit-remaining-tokens", "7"))

    async def answer(delivery: Delivery[ChatRequested]) -> None:
        if stream:
            _ = delivery.emit(ChatDelta(body='{"choices":[]}', engine="e", headers=theirs, upstream_ms=0.5))
        await delivery.reply(ChatCompleted(engine="e", pool="p", model="m", body="{}", headers=theirs))

    asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    async with peer("router", CHAT_REQUESTS, {ChatRequested: answer}):
        reply = await gateway.http.post("/v1/chat/completions", json=asked)
    assert reply.headers["openai-model"] == "m-1"
    assert reply.headers["x-ratelimit-remaining-tokens"] == "7"
    assert reply.headers["x-archive-engine"] == "e"
    assert float(reply.headers["x-archive-overhead-ms"]) >= 0


async def test_error_tells_its_overhead(gateway: Any, peer: Any) -> None:
    async def refuse(delivery: Delivery[ChatRequested]) -> None:
        await asyncio.sleep(0.2)
        spent = Problem(code="broken", message="It broke.", status=500, engine="e", upstream_ms=1e6)
        await delivery.fail(spent if delivery.message.model == "m" else spent.model_copy(update={"upstream_ms": 0.0}))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: refuse}):
        in_engine = await gateway.http.post("/v1/chat/completions", json=ASKED)
        elsewhere = await gateway.http.post("/v1/chat/completions", json=ASKED | {"model": "n"})
    assert float(in_engine.headers["x-archive-overhead-ms"]) == 0
    assert float(elsewhere.headers["x-archive-overhead-ms"]) >= 200
