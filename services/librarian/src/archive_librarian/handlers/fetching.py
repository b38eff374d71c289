"""An address of the web comes in; its file is stored, and its ingestion goes out."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from archive_blobs import BlobError, Blobs
from archive_bus import Delivery, Retry
from archive_contracts.base import Problem
from archive_contracts.documents import FetchDocument, IngestDocument, document_id
from archive_contracts.jobs import JobFinished, JobProgressed
from archive_contracts.streams import DOCUMENT_COMMANDS, JOBS_JOURNAL
from archive_librarian.domain.errors import EmptyDocument, ExtractionError, Unreachable

TRIES = 3
PAUSE_S = 2.0


class Download(Protocol):
    """A file on its way."""

    @property
    def filename(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def content(self) -> AsyncIterator[bytes]: ...


class Downloading(Protocol):
    """Asks the web."""

    def opened(self, url: str) -> AbstractAsyncContextManager[Download]:
        """Ask an address. Raises DownloadError, ResourceLimit."""
        ...


class Fetching:
    """Turns addresses into stored files."""

    def __init__(self, downloads: Downloading, blobs: Blobs) -> None:
        self._downloads = downloads
        self._blobs = blobs

    async def fetch(self, delivery: Delivery[FetchDocument]) -> None:
        """Download one file; a server that is away is tried again, any other end is the end of the job."""
        job = delivery.message.job_id
        with delivery.cancellable(job):
            if not await delivery.cancelled(job):
                await self._fetch(delivery)
                return
        await _end(delivery, CANCELLED, status="cancelled")

    async def give_up(self, delivery: Delivery[FetchDocument], problem: Problem) -> None:
        """End the job of a download that nobody will try again."""
        await _end(delivery, problem)

    async def _fetch(self, delivery: Delivery[FetchDocument]) -> None:
        command = delivery.message
        fetching = JobProgressed(job_id=command.job_id, phase="fetching")
        await delivery.append(fetching, to=JOBS_JOURNAL, entity=command.job_id, id=f"{command.job_id}/fetching")
        try:
            ingestion = await self._stored(delivery)
        except (ExtractionError, BlobError) as error:
            if isinstance(error, Unreachable | BlobError) and delivery.attempt < TRIES:
                raise Retry(str(error), delay_s=PAUSE_S * delivery.attempt) from error
            problem = Problem(code=error.code, message=error.message, next_step=error.next_step, status=422)
            await _end(delivery, problem)
            return
        await delivery.publish(ingestion, to=DOCUMENT_COMMANDS)

    async def _stored(self, delivery: Delivery[FetchDocument]) -> IngestDocument:
        command = delivery.message
        async with self._downloads.opened(command.url) as download:
            ref = await self._blobs.put(download.content)
        if not ref.size:
            raise EmptyDocument("The server sent an empty file.")
        return IngestDocument(
            job_id=command.job_id,
            document_id=document_id(delivery.envelope.tenant, ref.sha256),
            blob=str(ref),
            filename=download.filename,
            size=ref.size,
            content_type=download.content_type,
            origin=command.origin,
        )


async def _end(delivery: Delivery[FetchDocument], problem: Problem, *, status: str = "failed") -> None:
    job = delivery.message.job_id
    end = JobFinished(job_id=job, status="cancelled" if status == "cancelled" else "failed", error=problem)
    await delivery.append(end, to=JOBS_JOURNAL, entity=job)


CANCELLED = Problem(
    code="cancelled", message="The job was cancelled.", next_step="Add the address again to start over.", status=409
)
