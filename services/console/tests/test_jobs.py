"""What operators see and do about long work."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from archive_bus import Origin
from archive_console.domain.jobs import VIEWS, Told, listing, milestones, newest_first, record
from archive_contracts.base import Problem
from archive_contracts.jobs import JobEvent, JobFinished, JobProgressed, JobQueued
from archive_contracts.streams import JOBS_JOURNAL

HOSTILE = "<script>alert(1)</script>.pdf"
DAMAGED = Problem(code="corrupt", message="The file is damaged.", next_step="Export it again.")


def queued(job: str, **more: Any) -> JobQueued:
    return JobQueued(job_id=job, kind="ingest", filename=f"{job}.pdf", **more)


@pytest.fixture
async def journal(bus_as: Any) -> AsyncIterator[Any]:
    """Writes into the journal of a job, for a tenant."""
    async with bus_as("librarian") as bus:

        async def write(*events: JobEvent, tenant: str = "default") -> None:
            for event in events:
                await bus.append(event, to=JOBS_JOURNAL, entity=event.job_id, origin=Origin(tenant=tenant))

        yield write


async def shown(console: Any, path: str, word: str) -> str:
    """Return a page once it holds a word: the list is as it was a moment ago."""
    async with asyncio.timeout(60):
        while word not in (page := await console.page(path)):
            await asyncio.sleep(0.05)
    return page


async def test_jobs_of_all_tenants_are_listed(console: Any, journal: Any) -> None:
    assert "No jobs yet" in await console.page("/system/jobs")
    running = JobProgressed(job_id="a", phase="extracting", pages_done=3, pages_total=12, eta_s=7.0)
    await journal(queued("a", tenant="acme"), running, tenant="acme")
    await journal(JobQueued(job_id="b", kind="ingest", filename=HOSTILE))
    page = await shown(console, "/system/jobs", "&lt;script&gt;")
    assert "extracting · 3 of 12 pages · about 7 s left" in page
    assert "acme" in page
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page


async def test_job_that_is_being_cut_shows_how_far_it_is(console: Any, journal: Any) -> None:
    read = JobProgressed(job_id="a", phase="extracting", pages_done=1, pages_total=1)
    await journal(queued("a"), read, JobProgressed(job_id="a", phase="chunking", share=0.454, eta_s=12))
    assert "<small>chunking · 45 % · about 12 s left</small>" in await shown(console, "/system/jobs", "chunking")


async def test_job_that_is_embedded_counts_passages_alone(console: Any, journal: Any) -> None:
    embedded = JobProgressed(
        job_id="a", phase="embedding", pages_done=1, pages_total=1, chunks_done=32, chunks_total=13_341, eta_s=70
    )
    await journal(queued("a"), embedded)
    page = await shown(console, "/system/jobs", "embedding")
    assert "<small>embedding · 32 of 13\u202f341 passages · about 70 s left</small>" in page
    await journal(JobFinished(job_id="a", status="cancelled"))
    assert "13\u202f341 passages" not in await shown(console, "/system/jobs", "Cancelled")


async def test_failed_job_says_what_to_do(console: Any, journal: Any) -> None:
    await journal(queued("bad"), JobFinished(job_id="bad", status="failed", error=DAMAGED))
    await journal(queued("good"), JobFinished(job_id="good", status="done", pages=2, chunks=9))
    page = await shown(console, "/system/jobs?view=failed", "bad.pdf")
    assert "The file is damaged. Export it again." in page
    assert "good.pdf" not in page
    assert "No job is like that" in await console.page("/system/jobs?q=nonsense")
    assert "bad.pdf" in await console.page("/system/jobs?q=CORRUPT")


async def test_job_tells_what_it_went_through(console: Any, journal: Any) -> None:
    steps = [JobProgressed(job_id="a", phase="extracting", pages_done=page, pages_total=9) for page in range(9)]
    await journal(queued("a"), *steps, JobFinished(job_id="a", status="failed", error=DAMAGED))
    page = await console.page("/system/jobs/a")
    assert page.count("<span>extracting</span>") == 1
    assert "corrupt" in page
    assert "Export it again." in page
    assert "Reason" not in page
    assert (await console.http.get("/system/jobs/nobody")).status_code == 404


async def test_operator_cancels_with_a_reason(console: Any, journal: Any, bus_as: Any) -> None:
    await journal(queued("a", tenant="acme"), tenant="acme")
    assert (await console.post("/system/jobs/a/cancel")).status_code == 400
    reply = await console.post("/system/jobs/a/cancel", reason="it hangs")
    assert (reply.status_code, reply.headers["location"]) == (303, "/system/jobs/a")
    async with bus_as("gateway") as bus:
        entries = await bus.journal(JOBS_JOURNAL, "a")
        assert await bus.cancelled("a")
    assert entries[-1].message == JobFinished(job_id="a", status="cancelled")
    assert entries[-1].envelope.tenant == "acme"
    assert "it hangs" in await console.page("/system/actions")
    assert (await console.post("/system/jobs/a/cancel", reason="again")).status_code == 400


async def test_page_follows_a_job(console: Any, journal: Any) -> None:
    await journal(queued("a"))
    async with console.http.stream("GET", "/system/jobs/a/events") as reply:
        seen = ""
        async for line in reply.aiter_lines():
            seen += line
            if "queued" in line and "cancelled" not in seen:
                await journal(JobFinished(job_id="a", status="cancelled"))
            if "<span>cancelled</span>" in line:
                break
    assert "Cancelled" in seen


@given(
    some.lists(some.sampled_from(["queued", "running", "failed", "done"]), max_size=30),
    some.integers(0, 40),
    some.integers(1, 10),
)
def test_pages_hold_each_job_once(states: list[str], offset: int, limit: int) -> None:
    records = newest_first(
        record(str(number), [Told(number, event) for event in events(state)]) for number, state in enumerate(states)
    )
    whole = listing(records, view="all", words="", offset=0, limit=100)
    page = listing(records, view="all", words="", offset=offset, limit=limit)
    assert page.records == whole.records[offset : offset + limit]
    assert whole.counts["all"] == len(states) == sum(whole.counts[view] for view in VIEWS[1:])
    assert (page.older is not None) == (offset + limit < len(states))
    assert [each.began_at for each in whole.records] == sorted(range(len(states)), reverse=True)


def events(state: str) -> list[JobEvent]:
    begun: list[JobEvent] = [JobQueued(job_id="j", kind="ingest")]
    match state:
        case "running":
            return [*begun, JobProgressed(job_id="j", phase="embedding")]
        case "failed":
            return [*begun, JobFinished(job_id="j", status="failed")]
        case "done":
            return [*begun, JobFinished(job_id="j", status="done")]
        case _:
            return begun


def test_milestones_are_one_a_phase() -> None:
    phases = ["extracting", "extracting", "embedding", "embedding"]
    told = [Told(at, JobProgressed.model_validate({"job_id": "j", "phase": phase})) for at, phase in enumerate(phases)]
    assert [each.at for each in milestones([Told(-1, JobQueued(job_id="j", kind="i")), *told])] == [-1, 0, 2]
