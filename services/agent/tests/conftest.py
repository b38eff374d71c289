"""Peers of the agent, and a place to import them from."""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

# Test folders are no packages; agent_peers is a name that no other service's tests use.
sys.path.append(str(Path(__file__).parent))

from agent_peers import Gateway, Memory, Router

from archive_agent.app import build
from archive_agent.settings import Settings
from archive_bus import Bus
from archive_telemetry import App
from archive_testkit.peers import BusAs


@pytest.fixture
async def gateway(bus_as: BusAs) -> AsyncIterator[Gateway]:
    async with bus_as("gateway") as bus:
        yield Gateway(bus)


@pytest.fixture
async def memory(bus_as: BusAs) -> AsyncIterator[Memory]:
    async with bus_as("memory") as bus:
        yield Memory(bus)


@pytest.fixture
async def router(bus_as: BusAs) -> AsyncIterator[Router]:
    async with bus_as("router") as bus:
        yield Router(bus)


@pytest.fixture
async def engine(bus_as: BusAs) -> AsyncIterator[Bus]:
    """The bus of an engine, to announce it by."""
    async with bus_as("engine") as bus:
        yield bus


@pytest.fixture
def wired(redis_url: str, tmp_path: Path) -> Callable[..., App]:
    """Wire an agent; settings by keyword."""

    def wiring(**chosen: Any) -> App:
        urls = {"bus_url": redis_url, "state_url": redis_url, "blobs_url": f"file://{tmp_path}/blobs"}
        defaults: dict[str, Any] = {"grace_s": 1.0}
        return build(Settings(**urls, **defaults | chosen))

    return wiring


@pytest.fixture
async def agent(wired: Callable[..., App]) -> AsyncIterator[App]:
    app = wired()
    async with app.lifespan():
        yield app
