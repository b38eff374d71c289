"""Peers of the librarian, and a place to import them from."""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

# Test folders are no packages; librarian_peers is a name that no other service's tests use.
sys.path.append(str(Path(__file__).parent))

from librarian_peers import Gateway, Memory

from archive_blobs import Blobs, open_blobs
from archive_librarian.app import build
from archive_librarian.settings import Settings
from archive_telemetry import App
from archive_testkit.peers import BusAs


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return open_blobs(f"file://{tmp_path}/blobs")


@pytest.fixture
async def gateway(bus_as: BusAs, blobs: Blobs) -> AsyncIterator[Gateway]:
    async with bus_as("gateway") as bus:
        yield Gateway(bus, blobs)


@pytest.fixture
async def memory(bus_as: BusAs) -> AsyncIterator[Memory]:
    async with bus_as("memory") as bus:
        yield Memory(bus)


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Callable[..., App]:
    """Wire a librarian; settings by keyword."""

    def wired(**chosen: Any) -> App:
        urls = {"bus_url": redis_url, "state_url": redis_url, "blobs_url": f"file://{tmp_path}/blobs"}
        defaults: dict[str, Any] = {"workers": 1, "chunk_tokens": 64, "chunk_overlap": 8, "grace_s": 2.0}
        return build(Settings(**urls, **defaults | chosen))

    return wired


@pytest.fixture
async def librarian(start: Callable[..., App]) -> AsyncIterator[App]:
    app = start()
    async with app.lifespan():
        yield app
