"""Jobs: state, events, cancellation."""

import asyncio
import json
from typing import Any

import pytest

from archive_bus import Bus
from archive_contracts.jobs import JobFinished, JobProgressed, JobQueued
from archive_contracts.streams import JOBS_JOURNAL

QUEUED = JobQueued(job_id="j1", kind="ingest", document_id="d1", filename="a.txt")
READING = JobProgressed(job_id="j1", phase="extracting", pages_done=1, pages_total=2)
DONE = JobFinished(job_id="j1", status="done", pages=2, chunks=5, vectors=9)


@pytest.fixture
async def journal(bus_as: Any) -> Any:
    async with bus_as("librarian") as bus:
        yield bus


async def write(bus: Bus, *events: Any) -> list[str]:
    return [await bus.append(event, to=JOBS_JOURNAL, entity="j1") for event in events]


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for block in text.split("\n\n"):
        pairs = [line.partition(": ") for line in block.splitlines() if not line.startswith(":")]
        if lines := {name: value for name, _, value in pairs}:
            assert lines["event"] == "job"
            found.append((lines["id"], json.loads(lines["data"])))
    return found


async def test_state_is_fold_of_journal(gateway: Any, journal: Bus) -> None:
    await write(journal, QUEUED, READING)
    job = (await gateway.http.get("/v1/jobs/j1/")).json()
    assert (job["id"], job["status"], job["phase"], job["progress"]) == ("j1", "running", "extracting", 0.25)
    assert (job["error"], job["pages"]) == (None, 2)


@pytest.mark.parametrize("path", ["/v1/jobs/none", "/v1/jobs/none/events", "/v1/jobs/%7Bx%7D"])
async def test_unknown_job_is_not_found(gateway: Any, path: str) -> None:
    assert (await gateway.http.get(path)).status_code == 404


async def test_events_follow_job_to_its_end(gateway: Any, journal: Bus) -> None:
    await write(journal, QUEUED)
    following = asyncio.ensure_future(gateway.http.get("/v1/jobs/j1/events"))
    await asyncio.sleep(0.1)
    await write(journal, READING, DONE)
    events = events_of((await following).text)
    assert [state["status"] for _, state in events] == ["queued", "running", "done"]
    assert events[-1][1]["vectors"] == 9


async def test_events_resume_after_last_seen(gateway: Any, journal: Bus) -> None:
    entries = await write(journal, QUEUED, READING, DONE)
    resumed = await gateway.http.get("/v1/jobs/j1/events", headers={"last-event-id": entries[1]})
    ended = await gateway.http.get("/v1/jobs/j1/events", headers={"last-event-id": entries[2]})
    assert [(entry, state["progress"]) for entry, state in events_of(resumed.text)] == [(entries[2], 1.0)]
    assert (ended.status_code, ended.content) == (204, b"")


async def test_deleting_cancels_running_job(gateway: Any, journal: Bus) -> None:
    await write(journal, QUEUED, READING)
    reply = await gateway.http.delete("/v1/jobs/j1")
    assert (reply.status_code, reply.json()["status"]) == (200, "cancelled")
    assert await journal.cancelled("j1")
    again = await gateway.http.delete("/v1/jobs/j1")
    assert again.json()["status"] == "cancelled"
    assert len(await journal.journal(JOBS_JOURNAL, "j1")) == 3


async def test_ended_job_cannot_be_cancelled(gateway: Any, journal: Bus) -> None:
    await write(journal, QUEUED, DONE)
    assert (await gateway.http.delete("/v1/jobs/j1")).json()["status"] == "done"
    assert not await journal.cancelled("j1")
