"""A model server that misbehaves on request."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


def sse(*chunks: Any) -> bytes:
    """Encode chunks as a stream; strings go in as they are."""
    return b"".join(f"data: {c if isinstance(c, str) else json.dumps(c)}\n\n".encode() for c in chunks)


def delta(content: str | None = None, *, finish: str | None = None) -> dict[str, Any]:
    """One chunk of a streamed chat."""
    part = {} if content is None else {"content": content}
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": part, "finish_reason": finish}]}


def spoken(*texts: str, pause_s: float = 0.0) -> list[bytes | float | None]:
    """Return what streams these texts as they should be, with a pause before each, and closes with usage."""
    parts: list[bytes | float | None] = []
    for text in texts:
        parts += [pause_s, sse(delta(text))] if pause_s else [sse(delta(text))]
    usage = {"prompt_tokens": 7, "completion_tokens": len(texts), "total_tokens": 7 + len(texts)}
    return [*parts, sse(delta(finish="stop"), {"choices": [], "usage": usage}, "[DONE]")]


@dataclass
class FaultEngine:
    """A model server that misbehaves on request: writes bytes, waits through numbers of seconds, cuts at None.

    ``chooses`` says by the body of a request what to write instead of ``pieces``.
    """

    pieces: list[bytes | float | None] = field(default_factory=list[bytes | float | None])
    chooses: Callable[[str], list[bytes | float | None]] | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    routes: dict[str, Any] = field(default_factory=dict[str, Any])
    received: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    sent_headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    peers: list[Any] = field(default_factory=list[Any])
    left: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    hangs_up: bool = False
    url: str = ""

    def answers(self, *texts: str, pause_s: float = 0.0) -> None:
        """Stream these texts as they should be, with a pause before each, and close with usage."""
        self.pieces = spoken(*texts, pause_s=pause_s)

    def refuses(self, status: int, *, retry_after_s: float | None = None) -> None:
        """Answer with an error, and say when to come back."""
        self.status = status
        self.headers = {"content-type": "application/json"}
        if retry_after_s is not None:
            self.headers["retry-after"] = f"{retry_after_s:g}"
        self.pieces = [json.dumps({"error": {"message": f"refused with {status}", "code": None}}).encode()]

    def stalls(self, *texts: str) -> None:
        """Stream these texts and fall silent."""
        self.pieces = [*(sse(delta(text)) for text in texts), 600.0] if texts else [b": wait\n\n", 600.0]

    def cuts(self, *texts: str) -> None:
        """Stream these texts and break the connection."""
        self.pieces = [*(sse(delta(text)) for text in texts), 0.1, None]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.received.append((request.path, text))
        self.sent_headers.append({name.lower(): value for name, value in request.headers.items()})
        assert request.transport is not None
        self.peers.append(request.transport.get_extra_info("peername"))
        self.started.set()
        if self.hangs_up and request.method == "POST":
            request.transport.abort()
            return web.Response()
        if request.path in self.routes:
            return web.json_response(self.routes[request.path])
        if request.method == "GET":
            return web.Response(status=404)
        try:
            return await self._stream(request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.left.set()
            raise

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=self.status, headers=self.headers)
        pieces = self.chooses(await request.text()) if self.chooses else self.pieces
        if pieces and isinstance(pieces[0], float):
            await asyncio.sleep(pieces[0])
        await response.prepare(request)
        for piece in pieces:
            if isinstance(piece, float | int):
                await asyncio.sleep(piece)
            elif piece is None:
                assert request.transport is not None
                request.transport.abort()
                return response
            else:
                await response.write(piece)
        await response.write_eof()
        return response


@asynccontextmanager
async def greeting_engine() -> AsyncGenerator[FaultEngine]:
    """Run one that has the model `m`, which says `Hello` in two pieces until told otherwise."""
    async with fault_engine() as engine:
        engine.routes["/v1/models"] = {"data": [{"id": "m"}]}
        engine.answers("Hel", "lo")
        yield engine


@asynccontextmanager
async def fault_engine() -> AsyncGenerator[FaultEngine]:
    """Run one on a free port."""
    engine = FaultEngine()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", engine.answer)
    # It cancels a handler when its client leaves, as a good model server stops generating.
    server = TestServer(app)
    await server.start_server()
    engine.url = str(server.make_url(""))
    try:
        yield engine
    finally:
        await server.close()
