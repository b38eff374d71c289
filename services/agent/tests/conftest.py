"""Peers of the agent, and a place to import them from."""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

# Test folders are no packages; agent_peers is a name that no other service's tests use.
sys.path.append(str(Path(__file__).parent))

from agent_peers import Gateway, Memory, Router, bus_of

from archive_agent.app import build
from archive_agent.settings import Settings
from archive_bus import Bus
from archive_telemetry import App


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[Gateway]:
    async with bus_of("gateway", redis_url) as bus:
        yield Gateway(bus)


@pytest.fixture
async def memory(redis_url: str) -> AsyncIterator[Memory]:
    async with bus_of("memory", redis_url) as bus:
        yield Memory(bus)


@pytest.fixture
async def router(redis_url: str) -> AsyncIterator[Router]:
    async with bus_of("router", redis_url) as bus:
        yield Router(bus)


@pytest.fixture
async def engine(redis_url: str) -> AsyncIterator[Bus]:
    """The bus of an engine, to announce it by."""
    async with bus_of("engine", redis_url) as bus:
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
