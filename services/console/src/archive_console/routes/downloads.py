"""Documents that come from an address of the web: asked for, watched, cancelled, and why one did not come."""

import secrets
from dataclasses import dataclass

from starlette.responses import Response

from archive_console.domain.errors import BadForm, NotThere
from archive_console.domain.ports import Download
from archive_console.routes.jobs import end
from archive_console.routes.visit import Visit, text
from archive_contracts.documents import FetchDocument
from archive_contracts.jobs import Job, JobFinished, JobProgressed, JobQueued, fold
from archive_contracts.streams import DOCUMENT_COMMANDS, JOBS_JOURNAL

BEFORE_CATALOGUE = frozenset({"queued", "fetching"})
"""Phases of a job in which nobody but its journal knows of the document."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """A download that the catalogue does not show, and its job."""

    url: str
    job: Job


async def add_address(visit: Visit) -> Response:
    """Have what an address of the web names downloaded and ingested."""
    form = await visit.form()
    url = text(form, "url", most=2000)
    if not url.startswith(("http://", "https://")):
        raise BadForm("This is no address of the web.", next_step="Write one that begins with http:// or https://.")
    job = secrets.token_hex(16)
    queued = JobQueued(job_id=job, kind="ingest", filename=url, tenant=visit.tenant)
    await visit.desk.bus.append(queued, to=JOBS_JOURNAL, entity=job, origin=visit.origin, timeout=2.0)
    await visit.desk.downloads.add(visit.tenant, Download(job, url))
    command = FetchDocument(job_id=job, url=url)
    await visit.desk.bus.publish(command, to=DOCUMENT_COMMANDS, origin=visit.origin, timeout=2.0)
    await visit.desk.downloads.drop(visit.tenant, text(form, "instead", most=64))
    return visit.to("/documents")


async def cancel_job(visit: Visit) -> Response:
    """Stop the download of an address."""
    await visit.form()
    job = visit.request.path_params["job"]
    if await known_job(visit, job) is None:
        raise NotThere("There is no such job.", next_step="Go back to the documents.")
    await end(visit, job, origin=visit.origin, reason="cancelled by its owner")
    return visit.to("/documents")


async def dismiss(visit: Visit) -> Response:
    """Show a download that failed no longer; its job stays in the list of jobs."""
    await visit.form()
    await visit.desk.downloads.drop(visit.tenant, visit.request.path_params["job"])
    return visit.to("/documents")


async def arriving(visit: Visit, *, words: str) -> list[Arriving]:
    """Return the downloads that run and those that failed, the newest first. Raises BusError.

    Once the catalogue shows the document, or the job was cancelled or is kept no longer, nothing is left to tell.
    """
    shown: list[Arriving] = []
    for download in await visit.desk.downloads.listed(visit.tenant):
        job = await known_job(visit, download.job)
        if job is None or job.phase not in BEFORE_CATALOGUE or (job.ended and job.status != "failed"):
            await visit.desk.downloads.drop(visit.tenant, download.job)
        elif words.casefold() in download.url.casefold():
            shown.append(Arriving(download.url, job))
    return shown


async def known_job(visit: Visit, job_id: str) -> Job | None:
    """Return a job of this tenant; None when there is none. Raises BusError."""
    received = await visit.desk.bus.journal(JOBS_JOURNAL, job_id)
    if not received or received[0].envelope.tenant != visit.tenant:
        return None
    messages = (entry.message for entry in received)
    return fold(job_id, (each for each in messages if isinstance(each, JobQueued | JobProgressed | JobFinished)))
