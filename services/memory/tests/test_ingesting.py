"""Documents come batch by batch and are found."""

import asyncio

import pytest
from memory_peers import FACTS, Client, Engine
from memory_samples import batch

from archive_contracts.jobs import JobFinished, JobProgressed
from archive_contracts.memory import DocumentsFound, GetDocument, GetLibraryStats, LibraryStats
from archive_testkit.peers import BusAs


@pytest.mark.usefixtures("memory", "served")
async def test_batches_become_a_searchable_document(client: Client) -> None:
    await client.queue()
    assert (await client.until(bool)) is not None
    await client.send(batch(FACTS[0], batches=2))
    async with asyncio.timeout(20):
        while not any(isinstance(event, JobProgressed) for event in await client.journal()):
            await asyncio.sleep(0.02)
    assert await client.search("crane") == ()
    await client.send(batch(FACTS[1], number=1, batches=2))
    job = await client.job()
    hits = await client.search("How many tonnes does the crane lift?")
    stats = await client.ask(GetLibraryStats(), LibraryStats)
    assert (job.status, job.progress, job.chunks, job.vectors, job.pages) == ("done", 1.0, 2, 2, 3)
    assert (hits[0].chunk.text, hits[0].filename) == (FACTS[1], "doc-1.txt")
    assert hits[0].similarity > 0.5
    assert (stats.documents, stats.chunks, stats.vectors, stats.files) == (1, 2, 2, ("doc-1.txt",))
    assert await client.until(lambda row: row is not None and row.status == "ready")


@pytest.mark.usefixtures("memory", "served")
async def test_batches_out_of_order_and_again(client: Client) -> None:
    parts = [batch(fact, number=number, batches=3) for number, fact in enumerate(FACTS)]
    await client.send(parts[2], parts[0], parts[0], parts[1], parts[2], parts[1])
    job = await client.job()
    await client.send(batch("Something else.", document="doc-2", job="job-2"))
    await client.job("job-2")
    hits = await client.search("crane pier gates")
    assert (job.status, job.chunks, job.vectors) == ("done", 3, 3)
    assert sorted(hit.chunk.text for hit in hits if hit.document_id == "doc-1") == sorted(FACTS)
    assert (await client.ingested()).chunks == 3
    journal = await client.journal()
    assert {event.status for event in journal if isinstance(event, JobFinished)} == {"done"}


@pytest.mark.usefixtures("memory", "served")
async def test_long_chunk_is_found_by_its_end(client: Client) -> None:
    filler = " ".join(f"filler{number}" for number in range(60))
    await client.send(batch(f"{filler} the vault opens with walnut", batches=1))
    job = await client.job()
    hits = await client.search("walnut vault")
    assert job.vectors == 9
    assert hits[0].similarity > 0.3


@pytest.mark.usefixtures("memory", "served")
async def test_bad_pages_make_it_partial(client: Client) -> None:
    await client.send(batch(FACTS[0], bad_pages=(2,)))
    job = await client.job()
    assert (job.status, job.bad_pages) == ("partial", (2,))
    assert (await client.ask(GetDocument(document_id="doc-1"), DocumentsFound)).documents[0].status == "partial"


@pytest.mark.usefixtures("memory", "served")
async def test_new_document_supersedes_the_replaced(client: Client) -> None:
    await client.send(batch(FACTS[0]))
    await client.job()
    await client.send(batch(FACTS[1], document="doc-2", job="job-2", replace="doc-1"))
    await client.job("job-2")
    assert await client.row("doc-1") is None
    assert [hit.document_id for hit in await client.search("pier crane")] == ["doc-2"]


@pytest.mark.usefixtures("memory", "hasty")
async def test_absent_engine_leaves_search_by_words(client: Client, engine: Engine, bus_as: BusAs) -> None:
    async with bus_as("engine") as brief:
        engine.serve(brief)
        await client.send(batch(*FACTS))
        await client.job()
    hits = await client.search("crane")
    assert [(hit.chunk.text, hit.similarity) for hit in hits] == [(FACTS[1], 0.0)]
