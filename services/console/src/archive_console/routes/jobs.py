"""Long work: what runs, what failed and why, and how to end it."""

from typing import Any

from starlette.responses import Response

from archive_bus import JournalConflict, Origin
from archive_console.domain.errors import BadForm, NotThere
from archive_console.domain.jobs import VIEWS, Told, listing, milestones, record
from archive_console.routes.acting import note, reason_of
from archive_console.routes.events import streamed, watched
from archive_console.routes.visit import Visit
from archive_contracts.jobs import JobFinished, JobProgressed, JobQueued, fold
from archive_contracts.streams import JOBS_JOURNAL

ON_A_PAGE = 50
LOOK_S = 1.0
TRIES = 5


async def board(visit: Visit) -> dict[str, Any]:
    """Return a page of all jobs. Raises BusError."""
    view, words = visit.word("view"), visit.sought
    view = view if view in VIEWS else "all"
    records = await visit.desk.jobs.records()
    offset = visit.number("from", 0)
    return {
        "listing": listing(records, view=view, words=words, offset=offset, limit=ON_A_PAGE),
        "view": view,
        "views": VIEWS,
        "words": words,
    }


async def show_job(visit: Visit) -> Response:
    """Show one job, with what it went through."""
    return visit.page("system/job.html", part="jobs", **_values(visit, await _told(visit)))


async def watch_job(visit: Visit) -> Response:
    """Send the changing part of a job's page whenever it changes."""

    async def look() -> str:
        return visit.html("system/job_live.html", **_values(visit, await _told(visit)))

    key = ("job", visit.request.path_params["job"])
    return streamed(watched(visit, key, look, every_s=LOOK_S))


async def cancel_job(visit: Visit) -> Response:
    """End a job of whatever tenant; the reason is kept."""
    form = await visit.form()
    reason = reason_of(form)
    seen = record(visit.request.path_params["job"], await _told(visit))
    if not await end(visit, seen.job.id, origin=Origin(tenant=seen.tenant), reason=reason):
        raise BadForm("This job has ended already.", next_step="Look at how it ended.")
    await note(visit, "cancelled a job", [seen.job.id], reason=reason)
    return visit.to(f"/system/jobs/{seen.job.id}")


async def end(visit: Visit, job_id: str, *, origin: Origin, reason: str) -> bool:
    """Cancel a job; False when it has ended by itself. Raises BusError."""
    for _ in range(TRIES):
        received = await visit.desk.bus.journal(JOBS_JOURNAL, job_id)
        messages = (entry.message for entry in received)
        events = [message for message in messages if isinstance(message, JobQueued | JobProgressed | JobFinished)]
        if not events or fold(job_id, events).ended:
            return False
        await visit.desk.bus.cancel(job_id, reason=reason, origin=origin)
        ending = JobFinished(job_id=job_id, status="cancelled")
        try:
            # Only onto the journal that was read: a job that ends this very moment has ended by itself.
            await visit.desk.bus.append(ending, to=JOBS_JOURNAL, entity=job_id, origin=origin, expected=len(received))
            return True
        except JournalConflict:
            continue
    return False


async def _told(visit: Visit) -> list[Told]:
    told = await visit.desk.jobs.journal(visit.request.path_params["job"])
    if not told:
        raise NotThere("There is no such job.", next_step="Jobs are kept for a week after their end.")
    return told


def _values(visit: Visit, told: list[Told]) -> dict[str, Any]:
    return {"seen": record(visit.request.path_params["job"], told), "milestones": milestones(told)}
