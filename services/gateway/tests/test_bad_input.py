"""What the gateway says to requests that cannot be served."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive_gateway.domain.errors import BadRequest
from archive_gateway.domain.guardrails import Guardrails
from archive_gateway.routes.openai.chat_body import chat_asked, completion_asked

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("", "invalid_json", None),
        ("[]", "invalid_value", None),
        ('{"messages":[{"role":"user","content":"x"}]}', "missing_field", "model"),
        ('{"model":"m"}', "missing_field", "messages"),
        ('{"model":"m","messages":[]}', "invalid_value", "messages"),
        ('{"model":"m","messages":[{"content":"x"}]}', "missing_field", "messages.0.role"),
        ('{"model":"m","messages":[{"role":"user","content":5}]}', "invalid_value", "messages.0.content"),
        (b'{"model":"m\xff","messages":[{"role":"user"}]}', "invalid_json", None),
        ('{"model":"m","messages":[{"role":"user","content":[{}]}]}', "missing_field", "messages.0.content.0.type"),
        (
            '{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":5}]}]}',
            "invalid_value",
            "messages.0.content.0.text",
        ),
        (
            '{"model":"m","messages":[{"role":"user"}],"tools":[{"type":"function"}]}',
            "invalid_value",
            "tools.0",
        ),
        ('{"model":"m","messages":[{"role":"user"}],"tools":[7]}', "invalid_value", "tools.0"),
    ],
)
async def test_bad_chat_body_is_explained(gateway: Any, body: str, code: str, param: str | None) -> None:
    reply = await gateway.http.post(CHAT, content=body)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")
    assert error["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "messages", "role", "content", "stream", "type", "text"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary() | st.text().map(str.encode) | JSON.map(lambda tree: json.dumps(tree).encode()))
def test_any_body_is_read_or_refused(raw: bytes) -> None:
    try:
        request = chat_asked(raw, Guardrails(), session="s").request
    except BadRequest:
        return
    assert request.body.encode() == raw


@given(JSON)
def test_valid_messages_are_never_refused(content: object) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x", "extra": content}], "more": content}
    assert chat_asked(json.dumps(body).encode(), Guardrails(), session="s").request.prompt_chars == 1


def test_absent_text_of_a_part_is_none() -> None:
    parts = [{"type": "text", "text": "ab"}, {"type": "image_url", "text": None, "image_url": {"url": "data:,"}}]
    body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    request = chat_asked(json.dumps(body).encode(), Guardrails(), session="s").request
    assert (request.prompt_chars, request.needs, request.user_turn) == (2, ("chat", "vision"), "ab")


@pytest.mark.parametrize(
    ("prompt", "chars"), [(None, 0), ("four", 4), (["a", "bc"], 3), ([1, 2], 6), ([[1, 2], [3]], 9)]
)
def test_tokens_count_alike_however_sent(prompt: object, chars: int) -> None:
    body = json.dumps({"model": "m", "prompt": prompt}).encode()
    assert completion_asked(body, Guardrails(), session="s").request.prompt_chars == chars


async def test_packed_body_is_refused(gateway: Any) -> None:
    packed = gzip.compress(b'{"model":"m","messages":[{"role":"user","content":"x"}]}')
    reply = await gateway.http.post(CHAT, content=packed, headers={"content-encoding": "gzip"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_media_type")


async def test_unpacked_body_may_say_so(gateway: Any) -> None:
    reply = await gateway.http.post(CHAT, content=b"{", headers={"content-encoding": "Identity"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json")


async def test_unknown_address_is_told(gateway: Any) -> None:
    openai_face = await gateway.http.get("/v1/nothing")
    platform_face = await gateway.http.get("/nothing")
    assert openai_face.status_code == platform_face.status_code == 404
    assert set(openai_face.json()["error"]) == {"message", "type", "param", "code"}
    assert set(platform_face.json()) == {"detail", "code", "next_step"}


async def test_wrong_method_names_right_ones(gateway: Any) -> None:
    reply = await gateway.http.put("/v1/documents")
    assert reply.status_code == 405
    assert reply.headers["allow"] == "GET, HEAD, POST"


async def test_large_body_is_refused(start: Any) -> None:
    async def drip() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 1000

    async with start(max_body_mb=0.01) as gateway:
        announced = await gateway.http.post(CHAT, content=b"x" * 20_000)
        chunked = await gateway.http.post(CHAT, content=drip())
        still_serves = await gateway.http.get("/livez")
    for reply in (announced, chunked):
        assert reply.status_code == 413
        assert "0.01 MB" in reply.json()["error"]["message"]
        assert "GATEWAY_MAX_BODY_MB" in reply.json()["error"]["message"]
    assert still_serves.status_code == 200


async def test_wrong_key_is_refused(start: Any) -> None:
    async with start(api_key="right") as gateway:
        client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="wrong", max_retries=0)
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.models.list()
        await client.close()
        elsewhere = await gateway.http.get("/library/stats")
        probe = await gateway.http.get("/livez")
        right = await gateway.http.get("/v1/models", headers={"authorization": "Bearer right", "host": "any.example"})
    assert caught.value.code == "invalid_api_key"
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (401, "invalid_api_key")
    assert (probe.status_code, right.status_code) == (200, 200)


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"host": "evil.example"}, "forbidden_host"), ({"origin": "https://evil.example"}, "forbidden_origin")],
)
async def test_hostile_page_is_refused(gateway: Any, headers: dict[str, str], code: str) -> None:
    reply = await gateway.http.get("/v1/models", headers=headers)
    assert reply.status_code == 403
    assert reply.json()["error"]["code"] == code


async def test_local_names_are_welcome(gateway: Any) -> None:
    for host in ("localhost:8080", "[::1]:8080", "127.0.0.1", "console.localhost"):
        reply = await gateway.http.get("/v1/models", headers={"host": host, "origin": "http://localhost:8090"})
        assert reply.status_code == 200


async def test_empty_question_is_refused(gateway: Any) -> None:
    for path, body in (
        ("/research", {"question": " "}),
        ("/agent/", {"question": ""}),
        ("/chat", {"message": "\n"}),
        ("/library/search", {"query": ""}),
        ("/memories/search", {}),
    ):
        reply = await gateway.http.post(path, json=body)
        assert reply.status_code == 400
        assert reply.json()["next_step"]


async def test_bad_page_is_refused(gateway: Any) -> None:
    reply = await gateway.http.get("/memories/?limit=none")
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_value")
    for path in ("/memories", "/v1/documents", "/v1/jobs"):
        assert (await gateway.http.get(f"{path}?offset={10**23}")).status_code == 400
    many = await gateway.http.get("/memories?" + "&".join(f"a{number}=1" for number in range(200)))
    assert (many.status_code, many.json()["code"]) == (400, "invalid_value")


async def test_nonsense_gets_an_answer(gateway: Any) -> None:
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
    assert (await reader.read(12)) == b"HTTP/1.1 400"
    writer.close()


async def test_no_offered_id_is_taken_blindly(gateway: Any) -> None:
    good = await gateway.http.get("/livez", headers={"x-request-id": "abc-1"})
    bad = await gateway.http.get("/livez", headers={"x-request-id": "a b<c>"})
    assert good.headers["x-request-id"] == "abc-1"
    assert bad.headers["x-request-id"].startswith("req_")


async def test_fault_shows_no_trace(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("secret detail")

    monkeypatch.setattr("archive_gateway.routes.platform.probes.Welcome", broken)
    reply: httpx.Response = await gateway.http.get("/")
    assert reply.status_code == 500
    assert reply.json()["code"] == "internal_error"
    assert "secret" not in reply.text
