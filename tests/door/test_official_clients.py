"""The official client, in both major versions that are in use, asks everything of a whole door."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from archive_testkit.model_server import model_server

SCRIPT = Path(__file__).parent / "apps" / "ask_everything.py"
INSTALL_S = 90
ABLE = ("chat", "completion", "tools", "json_schema", "vision", "embedding", "rerank")


def python_with(major: int, folder: Path) -> str:
    """Return an interpreter with that major version of the client: this one, or one in an environment of its own."""
    if openai.__version__.startswith(f"{major}."):
        return sys.executable
    uv = os.environ.get("UV") or shutil.which("uv")
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


@pytest.mark.parametrize("major", [2, 3])
async def test_official_client_asks_everything(door: Any, tmp_path: Path, major: int) -> None:
    python = await asyncio.to_thread(python_with, major, tmp_path / "client")
    async with model_server() as server:
        await door.serve("all", server.url, capabilities=ABLE)
        await door.open(max_body_mb=1)
        await door.ready("all")
        made = await door.http.post("/v1/keys", json={"name": "meagre", "limits": {"requests_per_minute": 1}})
        command = [python, str(SCRIPT), f"{door.url}/v1", "root", made.json()["key"]]
        done = await asyncio.to_thread(
            subprocess.run, command, check=False, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{major}.")
