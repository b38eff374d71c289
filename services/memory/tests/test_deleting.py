"""What is deleted or cancelled is gone, with all that belongs to it."""

import asyncio
from pathlib import Path

import pytest
from memory_peers import FACTS, Client, Engine, Start
from memory_samples import batch

from archive_blobs import open_blobs
from archive_bus import Bus
from archive_contracts.documents import DeleteDocument, DocumentDeleted
from archive_contracts.memory import GetDocument


@pytest.mark.usefixtures("memory", "served")
async def test_deleted_document_is_gone(client: Client) -> None:
    await client.send(batch(FACTS[1]))
    await client.job()
    gone = await client.ask(DeleteDocument(document_id="doc-1"), DocumentDeleted)
    assert gone.document_id == "doc-1"
    assert await client.search("crane") == ()
    assert await client.row() is None
    again, missing = await client.refused(DeleteDocument(document_id="doc-1")), GetDocument(document_id="doc-1")
    assert (again.status, again.code) == (404, "document_not_found")
    assert (await client.refused(missing)).status == 404


@pytest.mark.usefixtures("served")
async def test_deleted_document_takes_its_bytes_along(app: Start, client: Client, tmp_path: Path) -> None:
    blobs = open_blobs(f"file://{tmp_path}/blobs")
    ref = await blobs.put(b"The crane lifts forty tonnes.")
    async with app(blob_grace_s=0.0).lifespan():
        await client.send(batch(FACTS[1]).model_copy(update={"blob": str(ref)}))
        await client.job()
        assert await blobs.exists(ref)
        await client.ask(DeleteDocument(document_id="doc-1"), DocumentDeleted)
        async with asyncio.timeout(20):
            while await blobs.exists(ref):
                await asyncio.sleep(0.05)


@pytest.mark.usefixtures("memory", "served")
async def test_deleting_ends_a_running_job(client: Client) -> None:
    await client.queue()
    await client.until(bool)
    await client.ask(DeleteDocument(document_id="doc-1"), DocumentDeleted)
    await client.send(*(batch(fact, number=number, batches=2) for number, fact in enumerate(FACTS[:2])))
    job = await client.job()
    assert (job.status, job.error and job.error.code) == ("cancelled", "document_deleted")
    assert await client.row() is None
    assert await client.search("crane") == ()


@pytest.mark.usefixtures("memory", "hasty")
async def test_cancel_reaches_a_waiting_batch(client: Client, engine: Engine, lane: Bus) -> None:
    await client.queue()
    await client.send(batch(FACTS[0], batches=2))
    await client.until(bool)
    await asyncio.sleep(0.3)
    await client.bus.cancel("job-1")
    await client.until(lambda found: found is None)
    engine.serve(lane)
    await client.send(batch(FACTS[1], number=1, batches=2))
    job = await client.job()
    assert (job.status, job.error and job.error.code) == ("cancelled", "cancelled")
    assert await client.search("pier crane") == ()
