"""Jobs: state, events, cancellation."""

import asyncio
import json
from typing import Any

import pytest

from archive_bus import Bus, Origin
from archive_contracts.jobs import JobFinished, JobProgressed, JobQueued
from archive_contracts.streams import JOBS_JOURNAL
from archive_gateway.domain.job_list import JobList
from archive_testkit.waiting import becomes, eventually

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
    assert (job["id"], job["status"], job["phase"], job["progress"]) == ("j1", "running", "extracting", 0.2)
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


async def test_jobs_are_listed_newest_first(gateway: Any) -> None:
    made = [
        (await gateway.http.post("/v1/documents", files={"file": (f"{name}.txt", name.encode())})).json()["job_id"]
        for name in ("one", "two", "three")
    ]

    async def listed(**page: int) -> dict[str, Any]:
        return (await gateway.http.get("/v1/jobs", params=page)).json()

    async def known() -> bool:
        return (await listed())["total"] == 3

    await eventually(known)
    assert [job["id"] for job in (await listed())["jobs"]] == made[::-1]
    (middle,) = (await listed(limit=1, offset=1))["jobs"]
    assert (middle["id"], middle["status"], middle["filename"]) == (made[1], "queued", "two.txt")
    assert (await listed(offset=3))["jobs"] == []


async def test_jobs_are_listed_for_their_tenant(gateway: Any, journal: Bus) -> None:
    for job, tenant in (("j1", "default"), ("j2", "other")):
        queued = QUEUED.model_copy(update={"job_id": job})
        await journal.append(queued, to=JOBS_JOURNAL, entity=job, origin=Origin(tenant=tenant))
        await journal.append(queued, to=JOBS_JOURNAL, entity=job, origin=Origin(tenant=tenant))
    await write(journal, DONE)

    async def told() -> list[tuple[str, str]]:
        return [(job["id"], job["status"]) for job in (await gateway.http.get("/v1/jobs")).json()["jobs"]]

    await becomes(told, [("j1", "done")])
    assert (await gateway.http.get("/v1/jobs")).json()["total"] == 1


@pytest.mark.parametrize("page", ["limit=0", "limit=101", "offset=-1"])
async def test_bad_part_of_list_is_refused(gateway: Any, page: str) -> None:
    assert (await gateway.http.get(f"/v1/jobs?{page}")).status_code == 400


def test_oldest_jobs_are_forgotten() -> None:
    jobs = JobList(most=2)
    for number, tenant in ((1, "a"), (2, "b"), (1, "a"), (3, "a")):
        jobs.hear(QUEUED.model_copy(update={"job_id": f"j{number}"}), tenant=tenant)
    assert jobs.page("a", limit=9, offset=0) == (["j3"], 1)
    assert jobs.page("b", limit=9, offset=0) == (["j2"], 1)
    assert jobs.page("nobody", limit=9, offset=0) == ([], 0)
