"""A console that is killed in the middle of an answer."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from archive_bus import Delivery
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.servers import free_port
from archive_testkit.waiting import eventually

START_S = 60.0


@asynccontextmanager
async def process(
    redis_url: str, folder: Path
) -> AsyncGenerator[tuple[httpx.AsyncClient, subprocess.Popen[bytes]], None]:
    """Run a console of its own."""
    port = free_port()
    env = {
        **os.environ,
        "ARCHIVE_BUS_URL": redis_url,
        "ARCHIVE_STATE_URL": redis_url,
        "ARCHIVE_BLOBS_URL": f"file://{folder}/blobs",
        "CONSOLE_DIR": str(folder / "console"),
        "CONSOLE_PORT": str(port),
        "GATEWAY_API_KEY": "",
    }
    running = _started(env)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as console:
            until = time.monotonic() + START_S
            while not await _lives(console):
                assert running.poll() is None
                assert time.monotonic() < until
                await asyncio.sleep(0.05)
            yield console, running
    finally:
        running.kill()
        running.wait(10)


def _started(env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "archive_console"], env=env)


async def _lives(console: httpx.AsyncClient) -> bool:
    try:
        return (await console.get("/livez")).status_code == 200
    except httpx.TransportError:
        return False


def delta(text: str) -> ChatDelta:
    return ChatDelta(body=json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}))


async def test_killed_console_records_the_whole(redis_url: str, tmp_path: Path, peer: Any) -> None:
    killed = asyncio.Event()

    async def answer(delivery: Delivery[ChatRequested]) -> None:
        _ = delivery.emit(delta("Hello"))
        await killed.wait()
        _ = delivery.emit(delta(" world"))
        await delivery.reply(ChatCompleted(engine="e", pool="p", model="m", text="Hello world"))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: answer}):
        async with process(redis_url, tmp_path) as (console, running):
            token = (await console.get("/")).text.partition('name="form" value="')[2].partition('"')[0]
            reply = await console.post("/chat", data={"form": token, "text": "Hi there", "mode": "chat"})
            path, _, turn = reply.headers["location"].partition("#turn-")
            async with console.stream("GET", f"/turns/{turn}/events") as events:
                async for line in events.aiter_lines():
                    if "Hello" in line:
                        break
            running.kill()
        killed.set()
        async with process(redis_url, tmp_path) as (console, _):

            async def recorded() -> bool:
                found = (await console.get(f"{path}/export.json")).json()["turns"][0]
                return (found["status"], found["answer"]) == ("done", "Hello world")

            await eventually(recorded)
            assert "Hello world" in (await console.get(path)).text
