"""A model server that does all that OpenAI's API names, with words that are known beforehand."""

import base64
import json
import math
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import web
from aiohttp.test_utils import TestServer

MODEL = "m"
WORDS = ("Hel", "lo")
ARGUMENTS = ('{"city":', '"Bonn"}')
DIMENSIONS = 8
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}

Json = dict[str, Any]


@dataclass
class ModelServer:
    """It keeps the bodies it was sent. The word ``cut`` in a prompt breaks a stream off after its first piece."""

    url: str = ""
    received: list[tuple[str, Json]] = field(default_factory=list[tuple[str, Json]])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer whatever is asked."""
        body: Json = await request.json() if request.method == "POST" else {}
        self.received.append((request.path, body))
        if body.get("stream"):
            return await self._stream(request, body)
        whole = _WHOLE.get(request.path)
        return web.json_response(whole(body)) if whole else web.Response(status=404)

    async def _stream(self, request: web.Request, body: Json) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await reply.prepare(request)
        for number, chunk in enumerate(_pieces(body, chat=request.path.startswith("/v1/chat"))):
            await reply.write(f"data: {json.dumps(chunk)}\n\n".encode())
            if number == 1 and "cut" in json.dumps(body.get("messages") or body.get("prompt")):
                assert request.transport is not None
                request.transport.abort()
                return reply
        await reply.write(b"data: [DONE]\n\n")
        return reply


def _known(kind: str, body: Json) -> Json:
    """Return what every answer has; a field that nobody knows comes back as it was sent."""
    return {"id": "a-1", "object": kind, "created": 1, "model": MODEL, "x_wish": body.get("x_wish")}


def _message(body: Json) -> Json:
    if body.get("tools"):
        function = {"name": body["tools"][0]["function"]["name"], "arguments": "".join(ARGUMENTS)}
        calls = [{"id": "call_1", "type": "function", "function": function}]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    if _part(body, "response_format").get("type") == "json_schema":
        return {"role": "assistant", "content": '{"answer": 4}'}
    parts = body["messages"][-1]["content"]
    seen = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"] if _is_list(parts) else []
    return {"role": "assistant", "content": f"I see {seen[0]}" if seen else "".join(WORDS)}


def _part(body: Json, name: str) -> Json:
    return body.get(name) or {}


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _chat(body: Json) -> Json:
    words: list[Json] = [{"token": word, "logprob": -0.5, "bytes": None, "top_logprobs": []} for word in WORDS]
    choices: list[Json] = [
        {
            "index": index,
            "message": _message(body),
            "logprobs": {"content": words, "refusal": None} if body.get("logprobs") else None,
            "finish_reason": "tool_calls" if body.get("tools") else "stop",
        }
        for index in range(body.get("n") or 1)
    ]
    return {**_known("chat.completion", body), "choices": choices, "usage": USAGE, "system_fingerprint": "fp"}


def _completion(body: Json) -> Json:
    text = (body["prompt"] if body.get("echo") else "") + "".join(WORDS) + (body.get("suffix") or "")
    choice: Json = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    if body.get("logprobs"):
        choice["logprobs"] = {"tokens": [*WORDS], "token_logprobs": [-0.5, -0.5], "top_logprobs": None}
    return {**_known("text_completion", body), "choices": [choice], "usage": USAGE}


def _pieces(body: Json, *, chat: bool) -> Iterator[Json]:
    known = _known("chat.completion.chunk" if chat else "text_completion", body)
    for part in _deltas(body) if chat else ({"text": word} for word in WORDS):
        inner = {"delta": part} if chat else part
        yield known | {"choices": [{"index": 0, **inner, "logprobs": None, "finish_reason": None}]}
    end: Json = {"delta": {}} if chat else {"text": ""}
    reason = "tool_calls" if body.get("tools") else "stop"
    yield known | {"choices": [{"index": 0, **end, "logprobs": None, "finish_reason": reason}]}
    if _part(body, "stream_options").get("include_usage"):
        yield known | {"choices": [], "usage": USAGE}


def _deltas(body: Json) -> Iterator[Json]:
    if not body.get("tools"):
        yield {"role": "assistant", "content": ""}
        yield from ({"content": word} for word in WORDS)
        return
    head = {"name": body["tools"][0]["function"]["name"], "arguments": ""}
    call = {"index": 0, "id": "call_1", "type": "function", "function": head}
    yield {"role": "assistant", "content": None, "tool_calls": [call]}
    yield from ({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in ARGUMENTS)


def _embeddings(body: Json) -> Json:
    inputs = cast("list[object]", body["input"] if isinstance(body["input"], list) else [body["input"]])
    rows = [[math.sin(index + place + 1) for place in range(DIMENSIONS)] for index, _ in enumerate(inputs)]
    encoded: list[object] = [base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *row)).decode() for row in rows]
    vectors = encoded if body.get("encoding_format") == "base64" else rows
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return {"object": "list", "data": data, "model": MODEL, "usage": {"prompt_tokens": 3, "total_tokens": 3}}


def _models(body: Json) -> Json:
    return {"object": "list", "data": [{"id": MODEL, "object": "model"}]}


def _reranking(body: Json) -> Json:
    best = [{"index": index, "relevance_score": 1 / (index + 1)} for index in range(len(body["documents"]))]
    return {"results": best[: body.get("top_n")], "odd": None}


_WHOLE: dict[str, Callable[[Json], Json]] = {
    "/v1/models": _models,
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    "/v1/embeddings": _embeddings,
    "/v1/rerank": _reranking,
}


@asynccontextmanager
async def model_server() -> AsyncGenerator[ModelServer]:
    """Run one on a free port."""
    serving = ModelServer()
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", serving.answer)
    server = TestServer(app)
    await server.start_server()
    serving.url = str(server.make_url(""))
    try:
        yield serving
    finally:
        await server.close()
