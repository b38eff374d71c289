"""The whole door in one process: a gateway, a router, and workers beside engines of every kind."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from archive_engine.app import build as build_engine
from archive_engine.settings import Settings as EngineSettings
from archive_gateway.app import build as build_gateway
from archive_gateway.settings import Settings as GatewaySettings
from archive_router.app import build as build_router
from archive_router.settings import Settings as RouterSettings
from archive_testkit.fault_engine import FaultEngine, greeting_engine
from archive_testkit.peers import listening
from archive_testkit.servers import RedisServer

ROOT = {"authorization": "Bearer root"}
ASKED: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Say hello, please."}]}
CHAT = "/v1/chat/completions"
WITHIN_S = 60.0


class Door:
    """What a client sees of it, and the engines behind it. The operator's own key is ``root``."""

    def __init__(self, url: str, folder: Path, stack: AsyncExitStack) -> None:
        self.places: dict[str, Any] = {"bus_url": url, "state_url": url, "blobs_url": f"file://{folder}/blobs"}
        self._engines_file = folder / "engines.yaml"
        self._stack = stack
        self.url = ""
        self.http = httpx.AsyncClient()

    async def open(self, *, default: str = "", pools: str = "{}", **settings: Any) -> None:
        """Start a router and a gateway; ``default`` is the pool that is asked first, ``pools`` may sleep (YAML)."""
        self._engines_file.write_text(f'default: "{default}"\npools: {pools}\n')
        await self._stack.enter_async_context(self.router())
        self.url, self.http = await self._stack.enter_async_context(self.gateway(**settings))

    @asynccontextmanager
    async def gateway(self, **settings: Any) -> AsyncGenerator[tuple[str, httpx.AsyncClient]]:
        chosen: dict[str, Any] = {**self.places, "port": 0, "grace_s": 2.0, "api_key": "root", **settings}
        async with listening(build_gateway(GatewaySettings(**chosen))) as (url, client):
            client.headers.update(ROOT)
            yield url, client

    @asynccontextmanager
    async def router(self) -> AsyncGenerator[None]:
        settings = RouterSettings.model_validate({**self.places, "grace_s": 0.5, "engines_file": self._engines_file})
        async with build_router(settings).lifespan():
            yield

    @asynccontextmanager
    async def worker(self, pool: str, url: str, **facts: Any) -> AsyncGenerator[None]:
        named: dict[str, Any] = {"pool": pool, "name": pool, "base_url": url, "slots": 4, "grace_s": 0.2}
        brisk: dict[str, Any] = {"heartbeat_s": 0.3, "first_token_s": 30.0, "idle_s": 30.0}
        async with build_engine(EngineSettings.model_validate(self.places | named | brisk | facts)).lifespan():
            yield

    async def serve(self, pool: str, url: str, **facts: Any) -> None:
        """Run a worker on a pool beside a server."""
        await self._stack.enter_async_context(self.worker(pool, url, **facts))

    async def engine(self, pool: str, **facts: Any) -> FaultEngine:
        """Run an engine that misbehaves on request, and a worker beside it."""
        engine = await self.lone_engine()
        await self.serve(pool, engine.url, **facts)
        return engine

    async def lone_engine(self) -> FaultEngine:
        """Run an engine that has no worker."""
        return await self._stack.enter_async_context(greeting_engine())

    async def ready(self, *pools: str) -> None:
        """Wait until the gateway knows a healthy worker of each of these pools."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                listed = (await self.http.get("/v1/engines")).json()["engines"]
                if set(pools) <= {each["pool"] for each in listed if each["healthy"]}:
                    return
                await asyncio.sleep(0.05)

    async def ask(self, **more: Any) -> httpx.Response:
        """Ask for a whole answer, or with ``stream`` for all of a streamed one."""
        return await self.http.post(CHAT, json=ASKED | more)


@pytest.fixture
async def door(redis_url: str, tmp_path: Path) -> AsyncIterator[Door]:
    """A door on the shared server, not open yet."""
    async with AsyncExitStack() as stack:
        yield Door(redis_url, tmp_path, stack)


@pytest.fixture
async def frail_door(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Door]:
    """A door on a server of the test's own, which may be killed."""
    async with AsyncExitStack() as stack:
        yield Door(redis_server.url, tmp_path, stack)


@pytest.fixture
def within() -> Callable[[Callable[[], object]], Any]:
    """Wait until something is true."""

    async def waiting(true: Callable[[], object]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not true():
                await asyncio.sleep(0.02)

    return waiting
