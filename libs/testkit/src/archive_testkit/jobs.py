"""How a job ends: as the gateway tells it, or as its journal does."""

import asyncio
from typing import Any

import httpx

from archive_bus import Bus
from archive_contracts.jobs import TERMINAL, Job, JobEvent, JobFinished, fold
from archive_contracts.streams import JOBS_JOURNAL
from archive_testkit.waiting import WITHIN_S, wait_for


def ended(http: httpx.Client, job_id: str, within: float = 120.0) -> dict[str, Any]:
    """Ask the gateway, which may be away for a while, until a job has ended; return it."""
    job: dict[str, Any] = {}

    def over() -> bool:
        nonlocal job
        job = http.get(f"/v1/jobs/{job_id}").json()
        return job.get("status") in TERMINAL

    try:
        wait_for(over, within, despite=(httpx.HTTPError, ValueError))
    except AssertionError:
        raise AssertionError(f"job {job_id} did not end within {within:g} s: {job}") from None
    return job


async def followed(bus: Bus, job_id: str) -> Job:
    """Follow the journal of a job to its end; return what it came to."""
    seen: list[JobEvent] = []
    async with asyncio.timeout(WITHIN_S):
        async for received in bus.follow_journal(JOBS_JOURNAL, job_id):
            if received and isinstance(received.message, JobEvent):
                seen.append(received.message)
                if isinstance(received.message, JobFinished):
                    break
    return fold(job_id, seen)
