"""A stored file comes in; its chunks, its progress and its fate go out."""

import contextlib
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import anyio

from archive_blobs import BlobError, BlobRef, Blobs
from archive_bus import BusError, BusUnavailable, Delivery, Retry
from archive_contracts.base import Problem
from archive_contracts.documents import DocumentFailed, DocumentIngested, IngestDocument
from archive_contracts.jobs import JobFinished, JobProgressed
from archive_contracts.memory import DocumentsFound, GetDocument
from archive_contracts.streams import DOCUMENT_CHUNKS, DOCUMENT_COMMANDS, DOCUMENT_EVENTS, JOBS_JOURNAL, MEMORY_QUERIES
from archive_librarian.domain.batches import Read, batches
from archive_librarian.domain.chunker import ChunkOptions
from archive_librarian.domain.errors import ExtractionError
from archive_librarian.domain.extraction import Extraction, Phase, Progress
from archive_librarian.domain.pace import Pace
from archive_librarian.domain.watching import Done, Duplicate, Failed, Outcome

TELL_EVERY_S = 0.25
"""Progress that nobody could read is not written."""


class Extracting(Protocol):
    """Reads and chunks a file, away from the event loop; cancelling the caller ends the work."""

    async def extract(
        self, path: Path, *, filename: str, options: ChunkOptions, on_progress: Callable[[Progress], None]
    ) -> Extraction:
        """Return the document; raises ExtractionError."""
        ...


class Ingestion:
    """Turns stored files into chunks."""

    def __init__(self, extractor: Extracting, blobs: Blobs, options: ChunkOptions) -> None:
        self._extractor = extractor
        self._blobs = blobs
        self._options = options

    async def ingest(self, delivery: Delivery[IngestDocument]) -> None:
        """Read one document; every way it can end is an event and the end of its job."""
        job = delivery.message.job_id
        with delivery.cancellable(job):
            if not await delivery.cancelled(job):
                await self._ingest(delivery)
                return
        await _refuse(delivery, CANCELLED)

    async def give_up(self, delivery: Delivery[IngestDocument], problem: Problem) -> None:
        """End the job of a document that nobody will try again, also one that killed whoever read it."""
        await _refuse(delivery, _unexpected(problem))

    async def _ingest(self, delivery: Delivery[IngestDocument]) -> None:
        if await self._known(delivery):
            return
        try:
            extraction = await self._read(delivery)
        except (ExtractionError, BlobError) as error:
            if isinstance(error, BlobError) and not _is_last(delivery):
                raise Retry(f"the file cannot be fetched: {error}", delay_s=1.0) from error
            status = 422 if isinstance(error, ExtractionError) else 503
            problem = Problem(code=error.code, message=error.message, next_step=error.next_step, status=status)
            await _refuse(delivery, problem)
            return
        await self._send(delivery, Read(delivery.message, extraction, self._options, cut_at=time.time()))

    async def _known(self, delivery: Delivery[IngestDocument]) -> bool:
        """Finish at once when this content is searchable already."""
        command = delivery.message
        if command.replace and command.replace != command.document_id:
            return False  # what it supersedes goes only with the last of its chunks
        try:
            reply = await delivery.request(
                GetDocument(document_id=command.document_id), DocumentsFound, to=MEMORY_QUERIES, timeout=2.0
            )
        except BusError:
            return False  # not known, or nobody to ask: reading it again changes nothing that is there
        found = next((document for document in reply.documents if document.status in {"ready", "partial"}), None)
        if found is None or found.job_id == command.job_id:
            return False
        event = DocumentIngested(
            job_id=command.job_id,
            document_id=found.id,
            filename=command.filename,
            pages=found.pages,
            chunks=found.chunks,
            vectors=0,
            bad_pages=found.bad_pages,
            duplicate=True,
        )
        await delivery.publish(event, to=DOCUMENT_EVENTS)
        end = JobFinished(
            job_id=command.job_id,
            status="partial" if found.bad_pages else "done",
            pages=found.pages,
            chunks=found.chunks,
            bad_pages=found.bad_pages,
            duplicate=True,
        )
        await delivery.append(end, to=JOBS_JOURNAL, entity=command.job_id)
        return True

    async def _read(self, delivery: Delivery[IngestDocument]) -> Extraction:
        command = delivery.message
        pace = Pace()
        teller = _Teller(lambda progress: self._tell(delivery, progress, pace))
        teller.note(Progress(Phase.EXTRACTING, 0, 0))
        with tempfile.TemporaryDirectory(prefix="librarian-") as folder:
            path = Path(folder) / "document"
            async with teller.telling():
                await self._blobs.fetch(BlobRef.parse(command.blob), path)
                return await self._extractor.extract(
                    path, filename=command.filename, options=self._options, on_progress=teller.note
                )

    async def _tell(self, delivery: Delivery[IngestDocument], progress: Progress, pace: Pace) -> None:
        job, eta_s = delivery.message.job_id, pace.eta_s(progress, time.monotonic())
        if progress.phase is Phase.CHUNKING:
            share = progress.done / progress.total if progress.total else None
            event = JobProgressed(job_id=job, phase="chunking", share=share, eta_s=eta_s)
        else:
            read, pages = (progress.done, progress.total) if progress.total else (None, None)
            event = JobProgressed(job_id=job, phase="extracting", pages_done=read, pages_total=pages, eta_s=eta_s)
        await delivery.append(event, to=JOBS_JOURNAL, entity=job)

    async def _send(self, delivery: Delivery[IngestDocument], read: Read) -> None:
        pages = read.extraction.pages
        event = JobProgressed(
            job_id=read.command.job_id,
            phase="embedding",
            pages_done=pages,
            pages_total=pages,
            chunks_total=len(read.extraction.pieces),
            chunks_done=0,
        )
        # How often progress was told before depends on the moment; this one must be the same entry in every run.
        job = read.command.job_id
        await delivery.append(event, to=JOBS_JOURNAL, entity=job, id=f"{job}/embedding")
        for batch in batches(read):
            await delivery.publish(batch, to=DOCUMENT_CHUNKS)


class _Teller:
    """Passes on the newest progress, at most every TELL_EVERY_S."""

    def __init__(self, tell: Callable[[Progress], Awaitable[None]]) -> None:
        self._tell = tell
        self._newest: Progress | None = None
        self._news = anyio.Event()

    def note(self, progress: Progress) -> None:
        self._newest = progress
        self._news.set()

    @asynccontextmanager
    async def telling(self) -> AsyncGenerator[None, None]:
        """Tell while the block runs; what the block raises comes out as it is, not in a group."""
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run)
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised again below, outside the task group
                failure = error
            tasks.cancel_scope.cancel()
        if failure:
            raise failure

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            if self._newest:
                with contextlib.suppress(BusUnavailable):  # news for people; the reading goes on without
                    await self._tell(self._newest)
            await anyio.sleep(TELL_EVERY_S)


class Settling(Protocol):
    """Puts a claimed file where its outcome belongs."""

    async def settle(self, job: str, outcome: Outcome) -> Path | None:
        """Return the file's new place; None when it is not here."""
        ...


class Dropped:
    """Tells the watched folder what became of its files."""

    def __init__(self, folder: Settling) -> None:
        self._folder = folder

    async def ingested(self, delivery: Delivery[DocumentIngested]) -> None:
        """Archive a file that is searchable, or put a duplicate aside."""
        event = delivery.message
        await self._folder.settle(event.job_id, Duplicate() if event.duplicate else Done())

    async def failed(self, delivery: Delivery[DocumentFailed]) -> None:
        """Put a refused file aside with its reason."""
        event = delivery.message
        problem = event.problem
        await self._folder.settle(event.job_id, Failed(problem.code, problem.message, problem.next_step))


async def _refuse(delivery: Delivery[IngestDocument], problem: Problem) -> None:
    command = delivery.message
    event = DocumentFailed(
        job_id=command.job_id,
        document_id=command.document_id,
        filename=command.filename,
        blob=command.blob,
        size=command.size,
        problem=problem,
    )
    await delivery.publish(event, to=DOCUMENT_EVENTS)
    status = "cancelled" if problem is CANCELLED else "failed"
    end = JobFinished(job_id=command.job_id, status=status, error=problem)
    await delivery.append(end, to=JOBS_JOURNAL, entity=command.job_id)


def _is_last(delivery: Delivery[IngestDocument]) -> bool:
    return delivery.attempt >= DOCUMENT_COMMANDS.attempts


def _unexpected(problem: Problem) -> Problem:
    return Problem(
        code=problem.code,
        message=f"The document could not be read. {problem.message}",
        next_step="See 'archive dead list' and the log of the librarian for the cause, then upload the file again.",
    )


CANCELLED = Problem(
    code="cancelled", message="The job was cancelled.", next_step="Upload the file again to start over.", status=409
)
