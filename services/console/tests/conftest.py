"""The console with its real store and a real bus, behind its ASGI door."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from archive_bus import Bus, BusOptions, Delivery, connect
from archive_console.app import build
from archive_console.settings import Settings
from archive_contracts.base import Message
from archive_contracts.streams import Stream

Handlers = dict[type[Message], Callable[[Delivery[Any]], Awaitable[None]]]
TOKEN = re.compile(r'name="form" value="([0-9a-f]+)"')


@dataclass
class Running:
    """A console that listens, and a browser's part for it."""

    url: str
    http: httpx.AsyncClient
    folder: Path

    def bytes(self) -> bytes:
        """Return all that it has written."""
        return b"".join(path.read_bytes() for path in self.folder.iterdir())

    async def token(self, path: str = "/login") -> str:
        """Return what forms of this session carry."""
        found = TOKEN.search((await self.http.get(path)).text)
        assert found is not None
        return found[1]

    async def post(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form as the page would."""
        files = fields.pop("files", None)
        return await self.http.post(path, data={"form": await self.token(), **fields}, files=files)


Start = Callable[..., AbstractAsyncContextManager[Running]]
Peer = Callable[[str, Stream, Handlers], AbstractAsyncContextManager[Bus]]


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Start:
    """Start a console; settings by keyword."""

    @asynccontextmanager
    async def starting(**chosen: Any) -> AsyncGenerator[Running, None]:
        settings: dict[str, Any] = {
            "bus_url": redis_url,
            "state_url": redis_url,
            "blobs_url": f"file://{tmp_path}/blobs",
            "dir": tmp_path / "console",
            "port": 0,
            "grace_s": 3.0,
        }
        app = build(Settings(**settings | chosen))
        async with app.lifespan():
            url = str(app.info()["url"])
            async with httpx.AsyncClient(base_url=url, timeout=20) as client:
                yield Running(url, client, tmp_path / "console")

    return starting


@pytest.fixture
async def console(start: Start) -> AsyncIterator[Running]:
    """A console with its defaults."""
    async with start() as running:
        yield running


@pytest.fixture
def peer(redis_url: str) -> Peer:
    """Be another service: handle its messages on one stream."""

    @asynccontextmanager
    async def being(service: str, stream: Stream, handlers: Handlers) -> AsyncGenerator[Bus, None]:
        async with connect(redis_url, redis_url, BusOptions(service=service, grace_s=0.2)) as bus:
            bus.subscribe(stream, handlers)
            yield bus

    return being


@pytest.fixture
def bus_as(redis_url: str) -> Callable[[str], AbstractAsyncContextManager[Bus]]:
    """Be another service that only publishes and looks."""
    return lambda service: connect(redis_url, redis_url, BusOptions(service=service, grace_s=0.2))


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Wait until something is true."""

    async def waiting(true: Callable[[], Awaitable[object]], within: float = 10.0) -> None:
        async with asyncio.timeout(within):
            while not await true():
                await asyncio.sleep(0.03)

    return waiting
