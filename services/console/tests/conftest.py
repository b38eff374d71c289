"""The console with its real store and a real bus, behind its ASGI door."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from archive_console.app import build
from archive_console.settings import Settings
from archive_testkit.peers import LOOK_S, WITHIN_S, listening

LATE = '<p class="waiting"><span></span>Reading</p>'
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

    async def page(self, path: str) -> str:
        """Return a page once what it shows has come: one that has to wait for it is sent without."""
        async with asyncio.timeout(WITHIN_S):
            while LATE in (shown := (await self.http.get(path)).text):
                await asyncio.sleep(LOOK_S)
        return shown

    async def post(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form as the page would."""
        files = fields.pop("files", None)
        return await self.http.post(path, data={"form": await self.token(), **fields}, files=files)


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start(places: dict[str, Any], tmp_path: Path) -> Start:
    """Start a console; settings by keyword."""

    @asynccontextmanager
    async def starting(**chosen: Any) -> AsyncGenerator[Running, None]:
        folder = tmp_path / "console"
        settings: dict[str, Any] = {**places, "dir": folder, "grace_s": 3.0, **chosen}
        app = build(Settings(**settings))
        async with listening(app) as (url, client):
            yield Running(url, client, folder)

    return starting


@pytest.fixture
async def console(start: Start) -> AsyncIterator[Running]:
    """A console with its defaults."""
    async with start() as running:
        yield running
