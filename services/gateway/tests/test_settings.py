"""What the gateway refuses to start with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from archive_gateway.settings import Settings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "archive.example"])
def test_open_to_the_world_needs_key(host: str) -> None:
    with pytest.raises(ValidationError, match="GATEWAY_API_KEY"):
        Settings(host=host, blobs_url="file:///b")
    assert Settings(host=host, api_key=SecretStr("secret"), blobs_url="file:///b").key == "secret"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_loopback_needs_no_key(host: str) -> None:
    assert Settings(host=host, blobs_url="file:///b").key == ""


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
    assert "gateway: port" in done.stderr
    assert "Traceback" not in done.stderr
