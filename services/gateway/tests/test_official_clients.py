"""The official client, in both major versions that are in use, asks every endpoint."""

import asyncio
import base64
import shutil
import struct
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from archive_bus import Delivery
from archive_contracts.engine import Embedded, EmbedRequested, EngineRegistered, ModelCard
from archive_contracts.streams import EMBEDDING_REQUESTS, ENGINE_EVENTS

SCRIPT = Path(__file__).parent / "apps" / "ask_everything.py"
INSTALL_S = 90


def python_with(major: int, folder: Path) -> str:
    """Return an interpreter with that major version of the client: this one, or one in an environment of its own."""
    import openai

    if openai.__version__.startswith(f"{major}."):
        return sys.executable
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is needed for an environment with another version of the client")
    python = folder / "bin" / "python"
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", str(python), f"openai>={major},<{major + 1}"],
    ):
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=INSTALL_S)
        except subprocess.TimeoutExpired:
            pytest.skip(f"openai {major} was not installed within {INSTALL_S} s")
        if done.returncode:
            pytest.skip(f"openai {major} cannot be installed: {done.stderr.strip()[-200:]}")
    return str(python)


async def embed(delivery: Delivery[EmbedRequested]) -> None:
    count = len(delivery.message.texts)
    raw = base64.b64encode(struct.pack("<3f", 0, 0.5, 1) * count).decode()
    await delivery.reply(Embedded(model="e", dim=3, vectors=raw, counts=(1,) * count, tokens=count, engine="e"))


@pytest.mark.parametrize("major", [2, 3])
async def test_official_client_asks_everything(
    gateway: Any, router: Any, peer: Any, bus_as: Any, until: Any, tmp_path: Path, major: int
) -> None:
    python = await asyncio.to_thread(python_with, major, tmp_path / "client")
    beat = EngineRegistered(
        worker="w", engine="e", pool="p", models=(ModelCard(id="m"),), capabilities=("chat",), slots=1, heartbeat_s=60
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(peer("router", EMBEDDING_REQUESTS, {EmbedRequested: embed}))
        engine = await stack.enter_async_context(bus_as("engine"))
        await engine.publish(beat, to=ENGINE_EVENTS)
        await until(lambda: gateway.info()["models"])
        command = [python, str(SCRIPT), f"{gateway.url}/v1"]
        done = await asyncio.to_thread(
            subprocess.run, command, check=False, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{major}.")
