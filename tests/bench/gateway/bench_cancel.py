"""How long after its client left a request is closed at the engine: a table, and .bench/cancel.json for programs.

The engine runs in this process, so that both moments are on one clock. It answers nothing, or a first token and then
nothing, until it is hung up on.
"""

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession, web
from candidates import ours
from load import JSON, STREAM, WHOLE, p50

OUT = Path(".bench")
CHUNK = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "a"}}]}
FIRST = b"data: " + json.dumps(CHUNK).encode() + b"\n\n"
PATIENCE_S = 30.0


class Engine:
    """A model server that never comes to an end."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.closed: asyncio.Queue[float] = asyncio.Queue()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer with a first token, or with nothing."""
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        try:
            if (await request.json()).get("stream"):
                await response.prepare(request)
                await response.write(FIRST)
            self.asked.set()
            await asyncio.sleep(3600)
        finally:
            self.closed.put_nowait(time.perf_counter())
        return response

    async def models(self, _: web.Request) -> web.Response:
        """List one model."""
        return web.json_response({"object": "list", "data": [{"id": "mock", "object": "model"}]})

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str, None]:
        """Serve on a free port; yields the address."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/v1/models", self.models)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()


async def _leave(url: str, engine: Engine, body: str) -> float:
    """Ask, leave once the engine works, and return the milliseconds until it was hung up on."""
    engine.asked.clear()
    async with ClientSession() as session, asyncio.timeout(PATIENCE_S):
        asking = asyncio.ensure_future(_ask(session, url, body))
        await engine.asked.wait()
        await asyncio.sleep(0.05)
        asking.cancel()
        left = time.perf_counter()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        return (await engine.closed.get() - left) * 1000


async def _ask(session: ClientSession, url: str, body: str) -> None:
    async with session.post(f"{url}/v1/chat/completions", data=body, headers=JSON) as reply:
        await reply.read()


async def _measure(rounds: int) -> dict[str, list[float]]:
    engine = Engine()
    async with engine.serving() as address:
        with tempfile.TemporaryDirectory() as folder:
            running = ours(address, Path(folder))
            door = await asyncio.to_thread(running.__enter__)
            try:
                return {
                    name: [await _leave(door.url, engine, body) for _ in range(rounds)]
                    for name, body in (("stream", STREAM), ("whole", WHOLE))
                }
            finally:
                await asyncio.to_thread(running.__exit__, None, None, None)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    found = asyncio.run(_measure(parser.parse_args().rounds))
    figures = {f"cancel_{kind}_p50_ms": round(p50(took), 2) for kind, took in found.items()}
    figures |= {f"cancel_{kind}_max_ms": round(max(took), 2) for kind, took in found.items()}
    for name, value in sorted(figures.items()):
        print(f"{name:24} {value:8.2f}")  # noqa: T201 - a command's own words
    OUT.mkdir(exist_ok=True)
    (OUT / "cancel.json").write_text(json.dumps({"figures": figures, "table": []}, indent=1))


if __name__ == "__main__":
    main()
