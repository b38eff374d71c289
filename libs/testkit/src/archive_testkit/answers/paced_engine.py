"""A model server whose answers are known: ``w0 w1 w2 ...`` at a steady pace. ``python -m ... PORT``.

It goes on behind what a conversation ends with, so that an answer which another engine began has one right end.
"""

import asyncio
import json
import re
import sys
import time
from typing import Any, cast

from aiohttp import web

MODEL = "paced"
PACE_S = 0.02


def words(count: int) -> list[str]:
    """Return the pieces of an answer."""
    return [f"w{number} " for number in range(count)]


def asked_for(body: dict[str, Any]) -> int:
    """Return to how many words a conversation asks to count: its answer ends there whatever it may cost."""
    found = re.search(r"Count to (\d+)", str(body["messages"][0]["content"]))
    return int(found[1]) if found else 1


def begun(body: dict[str, Any]) -> int:
    """Return how many words of the answer the conversation has already."""
    last = cast("list[dict[str, Any]]", body["messages"])[-1]
    return str(last["content"]).count("w") if last["role"] == "assistant" else 0


async def answer(request: web.Request) -> web.StreamResponse:
    """Stream what is left of the answer."""
    body: dict[str, Any] = await request.json()
    reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await reply.prepare(request)
    known = {"id": "a", "object": "chat.completion.chunk", "created": int(time.time()), "model": MODEL}

    async def say(delta: dict[str, str], finish: str | None = None) -> None:
        chunk = known | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        await reply.write(f"data: {json.dumps(chunk)}\n\n".encode())

    for word in words(asked_for(body))[begun(body) :]:
        await say({"content": word})
        await asyncio.sleep(PACE_S)
    await say({}, "stop")
    await reply.write(b"data: [DONE]\n\n")
    return reply


async def models(request: web.Request) -> web.Response:
    """List the one model."""
    return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})


def main() -> None:
    """Serve until killed."""
    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", answer)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, handler_cancellation=True)


if __name__ == "__main__":
    main()
