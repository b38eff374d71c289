"""Documents that cannot be read, and an embedding lane that is away, slow or wrong."""

import asyncio

import pytest
from memory_peers import FACTS, Client, Engine, Start
from memory_samples import batch, failure

from archive_bus import Bus
from archive_contracts.base import Problem
from archive_contracts.engine import Embedded
from archive_contracts.jobs import JobFinished
from archive_contracts.streams import DOCUMENT_CHUNKS
from archive_memory.handlers import embedding
from archive_testkit.deaths import kill_all_runs


@pytest.mark.usefixtures("memory", "hasty")
async def test_ingest_waits_for_its_engine(client: Client, engine: Engine, lane: Bus) -> None:
    await client.queue()
    await client.send(batch(FACTS[1]))
    await asyncio.sleep(0.7)
    assert not any(isinstance(event, JobFinished) for event in await client.journal())
    engine.serve(lane)
    assert (await client.job()).status == "done"
    assert await client.search("crane")


@pytest.mark.usefixtures("hasty")
async def test_patience_ends_with_a_reason(app: Start, client: Client) -> None:
    async with app(patience_s=0.3).lifespan():
        await client.queue()
        await client.send(batch(FACTS[1]))
        job = await client.job()
        row = await client.until(lambda found: found is not None and found.status == "failed")
    assert (job.status, job.error and job.error.code) == ("failed", "request_timeout")
    assert row
    assert row.error == job.error


@pytest.mark.usefixtures("memory")
async def test_refused_texts_are_not_sent_again(client: Client, served: Engine) -> None:
    served.problem = Problem(code="bad_texts", message="Too odd.", next_step="Clean them.", status=400)
    await client.send(batch(FACTS[1]))
    job = await client.job()
    assert (job.status, job.error) == ("failed", served.problem)
    assert len(served.asked) == 1


@pytest.mark.usefixtures("hasty", "memory")
async def test_engine_in_trouble_is_asked_again(client: Client, served: Engine) -> None:
    served.problem = Problem(code="upstream", message="Not now.", status=503)
    await client.send(batch(FACTS[1]))
    async with asyncio.timeout(20):
        while len(served.asked) < 3:
            await asyncio.sleep(0.02)
    served.problem = None
    assert (await client.job()).status == "done"


@pytest.mark.usefixtures("single_attempt")
async def test_garbled_vectors_end_the_job(app: Start, client: Client, served: Engine) -> None:
    served.garbled = True
    async with app().lifespan():
        await client.send(batch(FACTS[1]))
        job = await client.job()
    assert (job.status, job.error and job.error.code) == ("failed", "vectors_rejected")


@pytest.mark.usefixtures("single_attempt", "served")
async def test_unexpected_error_ends_the_job(app: Start, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(reply: Embedded) -> None:
        raise ValueError(reply.model)

    monkeypatch.setattr(embedding, "vectors_of", broken)
    async with app().lifespan():
        await client.send(batch(FACTS[1]))
        job = await client.job()
    assert (job.status, job.error and job.error.code) == ("failed", "internal_error")


@pytest.mark.usefixtures("served")
async def test_deadly_batch_ends_the_job(app: Start, client: Client, redis_url: str) -> None:
    await client.send(batch(FACTS[1]))
    await kill_all_runs(redis_url, DOCUMENT_CHUNKS, "memory")
    async with app().lifespan():
        job = await client.job()
    assert (job.status, job.error and job.error.code) == ("failed", "internal_error")


@pytest.mark.usefixtures("memory")
async def test_failed_document_keeps_its_reason(client: Client) -> None:
    await client.queue()
    await client.fail(failure())
    row = await client.until(lambda found: found is not None and found.status == "failed")
    assert row
    assert row.error == failure().problem
    assert row.filename == "doc-1.txt"


@pytest.mark.usefixtures("memory")
async def test_failure_that_comes_first_stays(client: Client) -> None:
    await client.fail(failure())
    await client.until(lambda found: found is not None and found.status == "failed")
    await client.queue()
    await client.queue("doc-2", "job-2")
    await client.until(bool, "doc-2")
    row = await client.row()
    assert row
    assert row.status == "failed"
    await client.queue("doc-1", "job-3")
    await client.until(lambda found: found is not None and found.status == "queued")
