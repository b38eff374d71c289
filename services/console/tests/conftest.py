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

from archive_bus import Delivery
from archive_console.app import build
from archive_console.settings import Settings
from archive_contracts.base import Problem
from archive_contracts.documents import Chunk, DeleteDocument, DocumentDeleted, DocumentInfo
from archive_contracts.memory import DocumentsFound, DocumentText, GetDocument, GetDocumentText, ListDocuments
from archive_contracts.streams import MEMORY_COMMANDS, MEMORY_QUERIES
from archive_testkit.documents import FACTS
from archive_testkit.peers import listening
from archive_testkit.waiting import LOOK_S, WITHIN_S

LATE = '<p class="waiting"><span></span>Reading</p>'
UNKNOWN = "Looking for your documents"
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

    async def shelf(self, path: str) -> str:
        """Return a page once it knows the library: the first one of a tenant is sent before anybody has looked."""
        async with asyncio.timeout(WITHIN_S):
            while UNKNOWN in (shown := (await self.http.get(path)).text):
                await asyncio.sleep(LOOK_S)
        return shown

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


class Memory:
    """A catalogue of the test's own."""

    def __init__(self) -> None:
        self.documents: list[DocumentInfo] = []
        self.deleted: list[str] = []
        self.text = f"Intro. {FACTS[0].sentence} End."
        self.passages = 1
        self.marks: tuple[tuple[int, int], ...] = ()
        self.looks = 0

    async def catalogue(self, delivery: Delivery[ListDocuments]) -> None:
        self.looks += 1
        query = delivery.message
        named = [info for info in self.documents if query.words in info.filename]
        listed = named[query.offset : query.offset + query.limit]
        await delivery.reply(DocumentsFound(documents=tuple(listed), total=len(named)))

    async def one(self, delivery: Delivery[GetDocument]) -> None:
        found = [info for info in self.documents if info.id == delivery.message.document_id]
        if found:
            await delivery.reply(DocumentsFound(documents=tuple(found), total=len(found)))
        else:
            await delivery.fail(Problem(code="document_not_found", message="GET /v1/documents", status=404))

    async def words(self, delivery: Delivery[GetDocumentText]) -> None:
        query, size = delivery.message, len(self.text) + 9
        chunks = [
            Chunk(
                id=f"c{at}",
                index=at,
                text=text,
                tokens=9,
                char_start=at * size,
                char_end=at * size + len(text),
                marks=self.marks,
            )
            for at, text in enumerate([f"{self.text}{at or ''}" for at in range(self.passages)])
        ]
        shown = chunks[query.offset : query.offset + query.limit]
        await delivery.reply(DocumentText(document=self.documents[0], chunks=tuple(shown), total=len(chunks)))

    async def forget(self, delivery: Delivery[DeleteDocument]) -> None:
        self.deleted.append(delivery.message.document_id)
        await delivery.reply(DocumentDeleted(document_id=delivery.message.document_id))


@pytest.fixture
async def memory(peer: Any) -> AsyncIterator[Memory]:
    """What pages are told by a memory of the test's own."""
    found = Memory()
    queries = {ListDocuments: found.catalogue, GetDocument: found.one, GetDocumentText: found.words}
    async with (
        peer("memory", MEMORY_QUERIES, queries),
        peer("memory", MEMORY_COMMANDS, {DeleteDocument: found.forget}),
    ):
        yield found
