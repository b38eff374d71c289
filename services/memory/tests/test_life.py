"""A memory as a whole: its start, its end, and whom it serves."""

import pytest
from memory_peers import FACTS, Client, Start
from memory_samples import batch

from archive_bus import RequestFailed
from archive_contracts.base import Message
from archive_contracts.documents import DeleteDocument
from archive_contracts.memory import (
    DocumentsFound,
    ForgetMemory,
    GetDocument,
    GetLibraryStats,
    GetMemory,
    LibraryStats,
    ListDocuments,
)
from archive_telemetry import App


@pytest.mark.usefixtures("memory", "served")
async def test_tenants_see_only_their_own(client: Client) -> None:
    await client.send(batch(FACTS[1]), tenant="one")
    await client.job()
    await client.chatted("I keep bees", "Lovely", tenant="one")
    turns = await client.remembered(2, tenant="one")
    assert await client.search("crane", tenant="one")
    assert await client.search("crane", tenant="two") == ()
    assert await client.recall("bees", tenant="two") == ()
    assert (await client.ask(ListDocuments(), DocumentsFound, tenant="two")).documents == ()
    assert (await client.ask(GetLibraryStats(), LibraryStats, tenant="two")).memories == 0
    for query in (
        GetDocument(document_id="doc-1"),
        DeleteDocument(document_id="doc-1"),
        GetMemory(memory_id=turns[0].id),
        ForgetMemory(memory_id=turns[0].id),
    ):
        with pytest.raises(RequestFailed):
            await client.ask(query, Message, tenant="two")
    assert len(await client.remembered(2, tenant="one")) == 2


async def test_memory_is_ready_and_alive(memory: App, client: Client) -> None:
    assert await client.search("anything") == ()
    assert await memory.ready["bus"]() is None
    assert memory.live() is None


@pytest.mark.usefixtures("served")
async def test_what_was_stored_survives_restart(app: Start, client: Client) -> None:
    async with app().lifespan():
        await client.send(batch(FACTS[1]))
        await client.job()
    async with app().lifespan():
        assert [hit.chunk.text for hit in await client.search("crane")] == [FACTS[1]]
