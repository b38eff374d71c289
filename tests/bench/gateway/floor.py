"""The floor: a pass-through of Starlette and aiohttp that does nothing else. ``python floor.py PORT ENGINE_URL``."""

import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route


def build(engine: str) -> Starlette:
    """Return the application."""
    sessions: list[aiohttp.ClientSession] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            sessions.append(session)
            yield

    async def chat(request: Request) -> Response:
        body = await request.body()
        answer = await sessions[0].post(f"{engine}/v1/chat/completions", data=body)
        if answer.content_type != "text/event-stream":
            return Response(await answer.read(), media_type="application/json")

        async def pieces() -> AsyncIterator[bytes]:
            async for piece in answer.content.iter_any():
                yield piece

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async def ready(_: Request) -> Response:
        return Response("{}")

    routes = [Route("/v1/chat/completions", chat, methods=["POST"]), Route("/livez", ready)]
    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(build(sys.argv[2]), port=int(sys.argv[1]), http="httptools", loop="uvloop", access_log=False)
