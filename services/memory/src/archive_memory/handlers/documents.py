"""Documents: queued, filled batch by batch, failed, deleted."""

import time
from typing import Literal

from archive_bus import BusError, BusUnavailable, Delivery, Retry, Verdict
from archive_contracts.base import Problem
from archive_contracts.documents import (
    DeleteDocument,
    DocumentChunked,
    DocumentDeleted,
    DocumentFailed,
    DocumentInfo,
    DocumentIngested,
    IngestDocument,
)
from archive_contracts.jobs import JobFinished, JobProgressed
from archive_contracts.streams import DOCUMENT_CHUNKS, DOCUMENT_EVENTS, JOBS_JOURNAL
from archive_memory.domain.catalogue import BatchOutcome
from archive_memory.domain.errors import MemoryServiceError
from archive_memory.domain.port import Catalogue
from archive_memory.handlers.embedding import Embedder


class Documents:
    """Keeps the catalogue and the chunks."""

    def __init__(self, catalogue: Catalogue, embedder: Embedder) -> None:
        self._catalogue = catalogue
        self._embedder = embedder

    async def queue(self, delivery: Delivery[IngestDocument]) -> None:
        """Enter a document as soon as its job exists."""
        command = delivery.message
        info = DocumentInfo(
            id=command.document_id,
            filename=command.filename,
            status="queued",
            size=command.size,
            job_id=command.job_id,
            blob=command.blob,
            created_at=time.time(),
        )
        await self._catalogue.queue_document(delivery.envelope.tenant, delivery.envelope.id, info)

    async def add(self, delivery: Delivery[DocumentChunked]) -> None:
        """Embed and store a batch; the last one makes the document searchable and ends its job."""
        batch = delivery.message
        try:
            with delivery.cancellable(batch.job_id):
                if not await delivery.cancelled(batch.job_id):
                    await self._add(delivery)
                    return
        except (BusUnavailable, Verdict):
            raise
        except BusError as error:
            await _give_up(delivery, error.problem())
            return
        await self._catalogue.cancel_job(delivery.envelope.tenant, delivery.envelope.id, batch.job_id)
        await _drop(delivery, _CANCELLED)

    async def give_up(self, delivery: Delivery[DocumentChunked], problem: Problem) -> None:
        """End the job of a batch that nobody will try again, also one that killed whoever stored it."""
        await _give_up(delivery, _unexpected(problem))

    async def _add(self, delivery: Delivery[DocumentChunked]) -> None:
        batch, tenant = delivery.message, delivery.envelope.tenant
        try:
            vectors = await self._embedder.texts(delivery, [chunk.text for chunk in batch.chunks])
            outcome = await self._catalogue.add_batch(tenant, delivery.envelope.id, batch, vectors)
        except MemoryServiceError as error:
            if delivery.attempt < DOCUMENT_CHUNKS.attempts:
                raise Retry(str(error)) from error
            problem = Problem(code=error.code, message=error.message, next_step=error.next_step)
            await _give_up(delivery, problem)
            return
        if outcome.dropped:
            await _drop(delivery, _GONE)
        else:
            await self._tell(delivery, outcome)

    async def _tell(self, delivery: Delivery[DocumentChunked], outcome: BatchOutcome) -> None:
        batch = delivery.message
        if not outcome.complete:
            await delivery.append(_progress(batch, outcome), to=JOBS_JOURNAL, entity=batch.job_id)
            return
        event = DocumentIngested(
            job_id=batch.job_id,
            document_id=batch.document_id,
            filename=batch.filename,
            pages=batch.pages,
            chunks=outcome.chunks,
            vectors=outcome.vectors,
            bad_pages=batch.bad_pages,
        )
        await delivery.publish(event, to=DOCUMENT_EVENTS)
        end = JobFinished(
            job_id=batch.job_id,
            status="partial" if batch.bad_pages else "done",
            pages=batch.pages,
            chunks=outcome.chunks,
            vectors=outcome.vectors,
            bad_pages=batch.bad_pages,
        )
        await delivery.append(end, to=JOBS_JOURNAL, entity=batch.job_id)

    async def failed(self, delivery: Delivery[DocumentFailed]) -> None:
        """Keep the reason with the document."""
        await self._catalogue.fail_document(delivery.envelope.tenant, delivery.envelope.id, delivery.message)

    async def delete(self, delivery: Delivery[DeleteDocument]) -> None:
        """Remove a document, also one whose job still runs."""
        document_id, tenant = delivery.message.document_id, delivery.envelope.tenant
        if await self._catalogue.delete_document(tenant, delivery.envelope.id, document_id):
            gone = DocumentDeleted(document_id=document_id)
            await delivery.publish(gone, to=DOCUMENT_EVENTS)
            await delivery.reply(gone)
        else:
            await delivery.fail(no_document(document_id))


def no_document(document_id: str) -> Problem:
    """Return what is said of a document that is not there."""
    return Problem(
        code="document_not_found",
        message=f"There is no document {document_id!r}.",
        next_step="List the documents with GET /v1/documents or 'archive documents list'.",
        status=404,
    )


def _progress(batch: DocumentChunked, outcome: BatchOutcome) -> JobProgressed:
    left = batch.batches - outcome.batches_done
    elapsed = time.time() - batch.started_at
    return JobProgressed(
        job_id=batch.job_id,
        phase="embedding",
        pages_done=batch.pages,
        pages_total=batch.pages,
        chunks_done=outcome.chunks,
        chunks_total=batch.total_chunks,
        vectors_done=outcome.vectors,
        eta_s=elapsed / outcome.batches_done * left if outcome.batches_done and batch.started_at else None,
    )


async def _give_up(delivery: Delivery[DocumentChunked], problem: Problem) -> None:
    await _end(delivery, problem, status="failed")


async def _drop(delivery: Delivery[DocumentChunked], problem: Problem) -> None:
    """End a job whose batches nobody wants any more; its last batch speaks for all of them."""
    if delivery.message.batch == delivery.message.batches - 1:
        await _end(delivery, problem, status="cancelled")


async def _end(
    delivery: Delivery[DocumentChunked], problem: Problem, *, status: Literal["failed", "cancelled"]
) -> None:
    batch = delivery.message
    event = DocumentFailed(
        job_id=batch.job_id,
        document_id=batch.document_id,
        filename=batch.filename,
        blob=batch.blob,
        size=batch.size,
        problem=problem,
    )
    await delivery.publish(event, to=DOCUMENT_EVENTS)
    end = JobFinished(job_id=batch.job_id, status=status, error=problem)
    await delivery.append(end, to=JOBS_JOURNAL, entity=batch.job_id)


def _unexpected(problem: Problem) -> Problem:
    return Problem(
        code=problem.code,
        message=f"The document could not be stored. {problem.message}",
        next_step="See 'archive dead list' and the log of memory for the cause, then upload the file again.",
    )


_CANCELLED = Problem(
    code="cancelled", message="The job was cancelled.", next_step="Upload the file again to start over.", status=409
)
_GONE = Problem(
    code="document_deleted",
    message="The document was deleted before it was complete.",
    next_step="Upload the file again to have it back.",
    status=409,
)
