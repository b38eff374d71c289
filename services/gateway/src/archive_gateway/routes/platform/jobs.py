"""Jobs: their state, their events, their cancellation."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from archive_bus import JournalConflict, Received
from archive_contracts.base import Message
from archive_contracts.jobs import Job, JobFinished, JobProgressed, JobQueued, fold
from archive_contracts.streams import JOBS_JOURNAL
from archive_gateway.domain.errors import NotThere, Unavailable
from archive_gateway.domain.identity import after, is_entry_id
from archive_gateway.routes.answers import PING_S, EventWire, Json, Nothing
from archive_gateway.routes.asking import PUBLISH_S, soon
from archive_gateway.routes.connection import while_connected
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit

Entries = Sequence[Received[Message]]


class JobPage(BaseModel):
    """Which part of the list."""

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    offset: Annotated[int, Field(ge=0, lt=2**31)] = 0


class JobListing(BaseModel):
    """A page of jobs, newest first; ``total`` counts those that are remembered, of the last seven days."""

    jobs: list[Job]
    total: int


async def list_jobs(desk: Desk, visit: Visit) -> ASGIApp:
    """List jobs, newest first."""
    page = visit.query(JobPage)
    await desk.asking.demand_servers()
    ids, total = desk.jobs.page(visit.ticket.tenant, limit=page.limit, offset=page.offset)
    journals = await soon(asyncio.gather(*(desk.bus.journal(JOBS_JOURNAL, job_id) for job_id in ids)))
    found = [_folded(job_id, entries) for job_id, entries in zip(ids, journals, strict=True) if entries]
    return Json(JobListing(jobs=found, total=total))


async def get_job(desk: Desk, visit: Visit) -> ASGIApp:
    """Look up a job."""
    job_id = visit.id_of("job", "job")
    return Json(_folded(job_id, await _journal(desk, visit, job_id)))


async def cancel_job(desk: Desk, visit: Visit) -> ASGIApp:
    """Cancel a job; one that has ended stays as it is."""
    job_id = visit.id_of("job", "job")
    for _ in range(5):
        entries = await _journal(desk, visit, job_id)
        job = _folded(job_id, entries)
        if job.ended:
            return Json(job)
        await soon(desk.bus.cancel(job_id, reason="cancelled by its owner", origin=visit.origin))
        ending = JobFinished(job_id=job_id, status="cancelled")
        try:
            # Only onto the journal that was read: a job that ends this very moment has ended by itself.
            await desk.bus.append(
                ending, to=JOBS_JOURNAL, entity=job_id, origin=visit.origin, expected=len(entries), timeout=PUBLISH_S
            )
        except JournalConflict:
            continue
        return Json(job.after(ending))
    raise Unavailable("The job moves on faster than it can be cancelled.", next_step="Try again.", code="job_busy")


async def follow_job(desk: Desk, visit: Visit) -> ASGIApp:
    """Follow a job as it moves on, from the entry after ``Last-Event-ID``."""
    job_id = visit.id_of("job", "job")
    entries = await _journal(desk, visit, job_id)
    mark = visit.header(b"last-event-id")
    mark = mark if is_entry_id(mark) else "0-0"
    if _folded(job_id, entries).ended and not after(entries[-1].entry_id, mark):
        # An event source comes back by itself until it is told not to.
        return Nothing()
    return JobEvents(desk, job_id, entries, mark=mark)


class JobEvents:
    """The states of a job: those that were, then those that come, until its end."""

    def __init__(self, desk: Desk, job_id: str, entries: Entries, *, mark: str) -> None:
        self._desk = desk
        self._entries = entries
        self._mark = mark
        self._job = Job(id=job_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wire = EventWire(send)
        async with while_connected(scope):
            for received in self._entries:
                await self._tell(wire, received)
            if not self._job.ended:
                await self._follow(wire)
            await wire.end()

    async def _follow(self, wire: EventWire) -> None:
        idle = 0
        last = self._entries[-1].entry_id
        async for received in self._desk.bus.follow_journal(JOBS_JOURNAL, self._job.id, after=last):
            if received is None:
                idle += 1
                if self._desk.draining.is_set():
                    return
                if idle % int(PING_S) == 0:
                    await wire.ping()
                continue
            await self._tell(wire, received)
            if self._job.ended:
                return

    async def _tell(self, wire: EventWire, received: Received[Message]) -> None:
        if not isinstance(received.message, JobQueued | JobProgressed | JobFinished):
            return
        self._job = self._job.after(received.message)
        if after(received.entry_id, self._mark):
            await wire.event("job", self._job, entry=received.entry_id)


async def _journal(desk: Desk, visit: Visit, job_id: str) -> Entries:
    entries = await soon(desk.bus.journal(JOBS_JOURNAL, job_id))
    first = entries[0].envelope if entries else None
    if first is None or first.tenant != visit.ticket.tenant:
        raise NotThere(
            f"There is no job {job_id!r}.",
            next_step="Jobs are kept for seven days; see /v1/documents for what became of a document.",
            code="job_not_found",
        )
    return entries


def _folded(job_id: str, entries: Entries) -> Job:
    messages = (received.message for received in entries)
    return fold(
        job_id, [message for message in messages if isinstance(message, JobQueued | JobProgressed | JobFinished)]
    )
