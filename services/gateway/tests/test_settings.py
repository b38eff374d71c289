"""What the gateway refuses to start with."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from archive_contracts.keys import BOOK, KeyCreated
from archive_contracts.streams import KEYS_JOURNAL
from archive_gateway.settings import Settings
from archive_telemetry import SettingError


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "archive.example"])
def test_other_machines_are_noticed(host: str) -> None:
    assert Settings(host=host, blobs_url="file:///b").exposed


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_loopback_is_not_exposed(host: str) -> None:
    settings = Settings(host=host, api_key=SecretStr(" secret "), blobs_url="file:///b")
    assert (settings.exposed, settings.key) == (False, "secret")


async def test_exposed_gateway_needs_key(start: Any, bus_as: Any) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with start(host="0.0.0.0"):
            pass
    assert caught.group_contains(SettingError, match="there is no key")
    async with bus_as("operator") as bus:
        created = KeyCreated(key_id="key_1", name="n", digest="d", hint="h", created_at=0)
        await bus.append(created, to=KEYS_JOURNAL, entity=BOOK)
    async with start(host="0.0.0.0") as gateway:
        port = gateway.url.rpartition(":")[2]
        reply = await gateway.http.get(f"http://127.0.0.1:{port}/v1/models")
    assert reply.status_code == 401


def test_shared_names_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_BUS_URL", "redis://bus")
    monkeypatch.setenv("ARCHIVE_BLOBS_URL", "file:///b")
    monkeypatch.setenv("GATEWAY_API_KEY", "")
    monkeypatch.setenv("GATEWAY_PORT", "0")
    settings = Settings()  # pyright: ignore[reportCallIssue]
    assert (settings.bus_url, settings.port, settings.key) == ("redis://bus", 0, "")


def test_unusable_environment_exits_with_words(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "GATEWAY_HOST": "0.0.0.0",
        "GATEWAY_PORT": "x",
        "ARCHIVE_BLOBS_URL": f"file://{tmp_path}",
    }
    command = [sys.executable, "-m", "archive_gateway"]
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "gateway: GATEWAY_PORT" in done.stderr
    assert "Traceback" not in done.stderr
