import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from archive_engine.adapters.http_session import HttpSession, open_session
from archive_engine.adapters.openai_http import Capabilities, OpenAIBackend
from archive_engine.adapters.retry_after import retry_after_s
from archive_engine.adapters.upstream_reply import Timeouts
from archive_engine.domain.errors import (
    UpstreamCut,
    UpstreamError,
    UpstreamMalformed,
    UpstreamRefused,
    UpstreamStalled,
    UpstreamStatus,
)
from archive_testkit.fault_engine import FaultEngine, delta, fault_engine, sse

BODY = '{"model": "m",  "messages": [], "unknown": 1.50}'
JSON = {"content-type": "application/json"}


@pytest.fixture
async def engine() -> AsyncIterator[FaultEngine]:
    """A running engine that misbehaves on request."""
    async with fault_engine() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[HttpSession]:
    """The session production uses."""
    async with open_session() as opened:
        yield opened


@pytest.fixture
def backend(engine: FaultEngine, session: HttpSession) -> OpenAIBackend:
    """A backend on the fake."""
    return OpenAIBackend(engine.url, session=session, timeouts=Timeouts())


@pytest.fixture
def impatient(engine: FaultEngine, session: HttpSession) -> OpenAIBackend:
    """One that waits two seconds for the first token and half a second for the next."""
    return OpenAIBackend(engine.url, session=session, timeouts=Timeouts(first_token_s=2.0, idle_s=0.5))


async def _read(backend: OpenAIBackend, *, stream: bool = True) -> list[str]:
    async with backend.chat(BODY, stream=stream) as reply:
        return [event.data async for event in reply]


async def _fail(backend: OpenAIBackend, *, stream: bool = True) -> tuple[UpstreamError, list[str]]:
    seen: list[str] = []
    with pytest.raises(UpstreamError) as caught:  # noqa: PT012 - what came before the error is looked at too
        async with backend.chat(BODY, stream=stream) as reply:
            async for event in reply:
                seen.append(event.data)  # noqa: PERF401 - a comprehension would lose them with the error
    return caught.value, seen


async def test_half_a_surrogate_pair_passes(engine: FaultEngine, backend: OpenAIBackend) -> None:
    half = '{"choices": [{"index": 0, "delta": {"content": "\\ud83d"}}]}'
    engine.pieces = [sse(half, delta("a", finish="stop"), "[DONE]")]
    assert (await _read(backend))[0] == half


async def test_chunks_pass_verbatim(engine: FaultEngine, backend: OpenAIBackend) -> None:
    first = '{"choices": [{"index":0, "delta":{"content":"hé"}, "logprobs":null}],  "x": 1.50}'
    engine.pieces = [b": ping\r\n\r\n", sse(first, delta(finish="stop"), "[DONE]")]
    assert await _read(backend) == [first, json.dumps(delta(finish="stop"))]
    assert engine.received == [("/v1/chat/completions", BODY)]


async def test_tokens_are_told_apart(engine: FaultEngine, backend: OpenAIBackend) -> None:
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    usage: dict[str, Any] = {"choices": [], "usage": {"total_tokens": 3}}
    engine.pieces = [sse(role, delta("a"), delta(finish="stop"), usage, "[DONE]")]
    async with backend.chat(BODY, stream=True) as reply:
        events = [event async for event in reply]
    assert [event.token for event in events] == [False, True, False, False]
    assert events[-1].parsed["usage"] == {"total_tokens": 3}
    assert reply.token_seen


async def test_whole_body_passes_verbatim(engine: FaultEngine, backend: OpenAIBackend) -> None:
    body = '{"choices": [ ], "x":1.50}'
    engine.headers, engine.pieces = JSON, [body[:9].encode(), body[9:].encode()]
    assert await _read(backend, stream=False) == [body]


async def test_bad_chunk_is_skipped(engine: FaultEngine, backend: OpenAIBackend) -> None:
    engine.pieces = [sse(delta("a"), '{"broken', "[1]", delta("b", finish="stop"), "[DONE]")]
    async with backend.chat(BODY, stream=True) as reply:
        assert len([event async for event in reply]) == 2
    assert reply.bad_chunks == 2


async def test_finish_reason_replaces_done(engine: FaultEngine, backend: OpenAIBackend) -> None:
    engine.pieces = [sse(delta("a", finish="stop"))]
    assert len(await _read(backend)) == 1


@pytest.mark.parametrize("end", [[None], []])
async def test_cut_stream_is_told(engine: FaultEngine, backend: OpenAIBackend, end: list[Any]) -> None:
    engine.pieces = [sse(delta("a")), 0.05, *end]
    error, seen = await _fail(backend)
    assert isinstance(error, UpstreamCut)
    assert error.token_seen
    assert len(seen) == 1


async def test_cut_before_token_differs(engine: FaultEngine, backend: OpenAIBackend) -> None:
    engine.pieces = [b": ping\n\n", 0.05, None]
    error, _ = await _fail(backend)
    assert isinstance(error, UpstreamCut)
    assert not error.token_seen


async def test_busy_engine_names_delay(engine: FaultEngine, backend: OpenAIBackend) -> None:
    engine.status, engine.headers, engine.pieces = 429, {"retry-after": "7"}, [b'{"error":{}}']
    error, _ = await _fail(backend)
    assert isinstance(error, UpstreamStatus)
    assert (error.status, error.retry_after, error.body) == (429, 7.0, '{"error":{}}')
    assert len(engine.received) == 1


async def test_server_error_is_typed(engine: FaultEngine, backend: OpenAIBackend) -> None:
    engine.status, engine.pieces = 500, [b"oops"]
    error, _ = await _fail(backend, stream=False)
    assert isinstance(error, UpstreamStatus)
    assert (error.status, error.body, error.retry_after) == (500, "oops", None)


@pytest.mark.parametrize(("code", "status"), [(503, 503), ("x", 502), (None, 502)])
async def test_error_inside_stream_is_typed(
    engine: FaultEngine, backend: OpenAIBackend, code: Any, status: int
) -> None:
    engine.pieces = [sse(delta("a"), {"error": {"message": "no memory", "code": code}})]
    error, seen = await _fail(backend)
    assert isinstance(error, UpstreamStatus)
    assert (error.status, error.token_seen, len(seen)) == (status, True, 1)
    assert "no memory" in error.message


@pytest.mark.parametrize(
    ("pieces", "token_seen"), [([30.0], False), ([b": hi\n\n", 30.0], False), ([sse(delta("a")), 30.0], True)]
)
async def test_silence_is_a_stall(
    engine: FaultEngine, impatient: OpenAIBackend, pieces: list[bytes | float | None], token_seen: bool
) -> None:
    engine.pieces = pieces
    error, _ = await _fail(impatient)
    assert isinstance(error, UpstreamStalled)
    assert error.token_seen is token_seen
    async with asyncio.timeout(25):
        await engine.left.wait()


async def test_comments_count_as_life(engine: FaultEngine, impatient: OpenAIBackend) -> None:
    engine.pieces = [b": ping\n\n", 1.1, b": ping\n\n", 1.1, sse(delta("a", finish="stop"), "[DONE]")]
    assert len(await _read(impatient)) == 1


async def test_nobody_listening_is_refused(session: HttpSession) -> None:
    with socket.socket() as bound:  # bound but not listening: nobody else gets the port meanwhile
        bound.bind(("127.0.0.1", 0))
        backend = OpenAIBackend(f"http://127.0.0.1:{bound.getsockname()[1]}", session=session)
        error, _ = await _fail(backend)
        assert isinstance(error, UpstreamRefused)
        with pytest.raises(UpstreamRefused):
            await backend.health()


async def test_html_page_is_malformed(engine: FaultEngine, backend: OpenAIBackend) -> None:
    engine.headers, engine.pieces = {"content-type": "text/html"}, [b"<html>"]
    for stream in (True, False):
        error, _ = await _fail(backend, stream=stream)
        assert isinstance(error, UpstreamMalformed)


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_closes_upstream(engine: FaultEngine, session: HttpSession, stream: bool) -> None:
    engine.pieces = [sse(delta("a")), 30.0] if stream else [30.0]
    patient = OpenAIBackend(engine.url, session=session, timeouts=Timeouts())
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read(patient, stream=stream))
        await engine.started.wait()
        await asyncio.sleep(0.05)
        reading.cancel()
        async with asyncio.timeout(30):
            await engine.left.wait()
    assert reading.cancelled()


async def test_break_closes_upstream(engine: FaultEngine, backend: OpenAIBackend) -> None:
    engine.pieces = [sse(delta("a")), 0.05, sse(delta("b")), 30.0]
    async with backend.chat(BODY, stream=True) as reply:
        async for event in reply:
            assert event.parsed == delta("a")
            break
    async with asyncio.timeout(30):
        await engine.left.wait()
    assert reply.token_seen


async def test_complete_answer_keeps_connection(engine: FaultEngine, backend: OpenAIBackend) -> None:
    engine.pieces = [sse(delta("a", finish="stop"), "[DONE]")]
    await _read(backend)
    await _read(backend)
    assert len(set(engine.peers)) == 1


async def test_assembles_when_told(engine: FaultEngine, session: HttpSession) -> None:
    backend = OpenAIBackend(engine.url, session=session, stream_upstream=True)
    usage: dict[str, Any] = {"object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 3}}
    engine.pieces = [sse(delta("he"), delta("llo"), delta(finish="stop"), usage, "[DONE]")]
    (body,) = await _read(backend, stream=False)
    sent = json.loads(engine.received[0][1])
    assert sent == {**json.loads(BODY), "stream": True, "stream_options": {"include_usage": True}}
    assert json.loads(body) == {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"total_tokens": 3},
    }


async def test_half_a_surrogate_pair_is_assembled(engine: FaultEngine, session: HttpSession) -> None:
    backend = OpenAIBackend(engine.url, session=session, stream_upstream=True)
    engine.pieces = [sse(delta("\ud83d"), delta(finish="stop"), "[DONE]")]
    async with backend.chat(r'{"messages": ["\ude00"]}', stream=False) as reply:
        body = (await anext(reply)).data.encode()
    assert json.loads(body)["choices"][0]["message"]["content"] == "\ud83d"
    assert json.loads(engine.received[0][1])["messages"] == ["\ude00"]


async def test_no_answer_tells_what_came(session: HttpSession) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        where = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(UpstreamCut, match="no HTTP answer"):
            await OpenAIBackend(where, session=session).models()


async def test_cut_assembly_hides_tokens(engine: FaultEngine, session: HttpSession) -> None:
    backend = OpenAIBackend(engine.url, session=session, stream_upstream=True)
    engine.pieces = [sse(delta("he")), 0.05, None]
    error, seen = await _fail(backend, stream=False)
    assert isinstance(error, UpstreamCut)
    assert (error.token_seen, seen) == (False, [])


async def test_embeddings_pass_verbatim(engine: FaultEngine, backend: OpenAIBackend) -> None:
    engine.headers, engine.pieces = JSON, [b'{"data" : [1.50]}']
    assert (await backend.embeddings('{"input":"x"}'))[0] == '{"data" : [1.50]}'
    assert engine.received == [("/v1/embeddings", '{"input":"x"}')]


@pytest.mark.parametrize(
    ("suffix", "path"),
    [
        ("", "/v1"),
        ("/", "/v1"),
        ("/v1", "/v1"),
        ("/v1/", "/v1"),
        ("/api/v3", "/api/v3"),
        ("/v1beta/openai", "/v1beta/openai"),
    ],
)
async def test_base_url_forms(engine: FaultEngine, session: HttpSession, suffix: str, path: str) -> None:
    engine.routes = {f"{path}/models": {"data": [{"id": "m"}]}}
    backend = OpenAIBackend(engine.url.rstrip("/") + suffix, session=session, api_key="k")
    assert await backend.models() == ("m",)
    assert engine.sent_headers[0]["authorization"] == "Bearer k"


async def test_capabilities_per_kind(engine: FaultEngine, backend: OpenAIBackend) -> None:
    engine.routes = {"/v1/models": {"data": [{"id": "m"}]}}
    assert await backend.capabilities() == Capabilities("openai", ("m",))
    engine.routes["/props"] = {"default_generation_settings": {"n_ctx": 4096}, "total_slots": 2}
    assert await backend.capabilities() == Capabilities("llama.cpp", ("m",), context=4096, slots=2)
    engine.routes["/v1/models"] = {"data": [{"id": "m", "max_model_len": 32768}]}
    assert await backend.capabilities() == Capabilities("vllm", ("m",), context=32768)


async def test_health_without_endpoint(engine: FaultEngine, backend: OpenAIBackend) -> None:
    with pytest.raises(UpstreamStatus):
        await backend.health()
    engine.routes = {"/v1/models": {"data": []}}
    await backend.health()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_forms(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers) == expected
