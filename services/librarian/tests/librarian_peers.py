"""Files with known facts, and the services around the librarian."""

import asyncio
import io
import zipfile
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import docx
import fpdf
import pypdf

from archive_blobs import BlobRef, Blobs
from archive_bus import Bus, Delivery
from archive_contracts.base import Problem
from archive_contracts.documents import (
    DocumentChunked,
    DocumentFailed,
    DocumentInfo,
    DocumentIngested,
    IngestDocument,
    document_id,
)
from archive_contracts.jobs import Job, JobEvent, JobFinished, JobProgressed, JobQueued
from archive_contracts.memory import DocumentsFound, GetDocument
from archive_contracts.streams import DOCUMENT_CHUNKS, DOCUMENT_COMMANDS, DOCUMENT_EVENTS, JOBS_JOURNAL, MEMORY_QUERIES
from archive_testkit.jobs import followed


def fact(page: int) -> str:
    return f"The secret number of page {page} is {page * 37}."


def pdf(pages: int, *, sentences: int = 12) -> bytes:
    """Pages of filler, each with its fact in the middle."""
    made = fpdf.FPDF()
    made.set_font("helvetica", size=11)
    for page in range(1, pages + 1):
        made.add_page()
        filler = [f"Sentence {number} of page {page} says little of interest." for number in range(sentences)]
        filler.insert(sentences // 2, fact(page))
        made.multi_cell(0, 6, " ".join(filler))
    return bytes(made.output())


def long_pdf(pages: int) -> bytes:
    """The same ten full pages again and again: writing each anew takes longer than reading them."""
    ten = io.BytesIO(pdf(10, sentences=60))
    writer, buffer = pypdf.PdfWriter(), io.BytesIO()
    for _ in range(pages // 10):
        writer.append(ten)
    writer.write(buffer)
    return buffer.getvalue()


def drawn_pdf(draw: Callable[[fpdf.FPDF], object]) -> bytes:
    made = fpdf.FPDF()
    made.set_font("helvetica", size=11)
    draw(made)
    return bytes(made.output())


def encrypted_pdf() -> bytes:
    def draw(made: fpdf.FPDF) -> None:
        made.set_encryption(owner_password="owner", user_password="user")
        made.add_page()
        made.multi_cell(0, 6, "Nobody reads this.")

    return drawn_pdf(draw)


def picture_pdf() -> bytes:
    def draw(made: fpdf.FPDF) -> None:
        made.add_page()
        made.rect(20, 20, 100, 100, style="F")

    return drawn_pdf(draw)


def zero_page_pdf() -> bytes:
    buffer = io.BytesIO()
    pypdf.PdfWriter().write(buffer)
    return buffer.getvalue()


def word_file() -> bytes:
    made = docx.Document()
    made.add_heading("Harbour", level=1)
    made.add_paragraph("The crane lifts forty tonnes.")
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def zip_file(member: str, content: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
    return buffer.getvalue()


class Gateway:
    """Uploads files and follows their jobs."""

    def __init__(self, bus: Bus, blobs: Blobs) -> None:
        self.bus = bus
        self._blobs = blobs

    async def store(self, content: bytes) -> BlobRef:
        return await self._blobs.put(content)

    async def upload(self, content: bytes, filename: str, *, job: str = "job-1", replace: str | None = None) -> str:
        """Start a job; returns the document's id."""
        ref = await self.store(content)
        document = document_id("default", ref.sha256)
        return await self.command(str(ref), filename, job=job, document=document, replace=replace)

    async def command(
        self, blob: str, filename: str, *, job: str, document: str = "doc", replace: str | None = None
    ) -> str:
        queued = JobQueued(job_id=job, kind="ingest", document_id=document, filename=filename)
        await self.bus.append(queued, to=JOBS_JOURNAL, entity=job)
        command = IngestDocument(
            job_id=job, document_id=document, blob=blob, filename=filename, size=5, replace=replace
        )
        await self.bus.publish(command, to=DOCUMENT_COMMANDS, id=f"{job}/ingest")
        return document

    async def journal(self, job: str = "job-1") -> list[JobEvent]:
        entries = await self.bus.journal(JOBS_JOURNAL, job)
        return [entry.message for entry in entries if isinstance(entry.message, JobEvent)]

    async def job(self, job: str = "job-1") -> Job:
        """Wait for a job's end and return it."""
        return await followed(self.bus, job)

    async def progressed(self, job: str = "job-1") -> None:
        """Wait until pages of a document are read; of a text all are, and its chunks are about to be sent."""
        async with asyncio.timeout(60):
            async for received in self.bus.follow_journal(JOBS_JOURNAL, job):
                if received and isinstance(received.message, JobProgressed) and received.message.pages_done:
                    return

    async def failed(self, number: int = 1) -> dict[str, DocumentFailed]:
        """Wait for the events of so many refused documents; returns them by job."""
        found: dict[str, DocumentFailed] = {}
        async with asyncio.timeout(60):
            async for received in self.bus.follow(DOCUMENT_EVENTS, since=timedelta(minutes=5)):
                if received and isinstance(received.message, DocumentFailed):
                    found[received.message.job_id] = received.message
                if len(found) == number:
                    break
        return found


class Memory:
    """A peer in memory's place: takes batches, ends jobs when they are complete, knows what it has."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.batches: list[DocumentChunked] = []
        self.ids = Counter[str]()
        self.tenants = set[str]()
        self.known: dict[str, DocumentInfo] = {}
        bus.subscribe(DOCUMENT_CHUNKS, {DocumentChunked: self._add})
        bus.subscribe(MEMORY_QUERIES, {GetDocument: self._get})

    @property
    def by_number(self) -> list[DocumentChunked]:
        return sorted(self.batches, key=lambda batch: batch.batch)

    async def _add(self, delivery: Delivery[DocumentChunked]) -> None:
        batch = delivery.message
        self.batches.append(batch)
        self.ids[delivery.envelope.id] += 1
        self.tenants.add(delivery.envelope.tenant)
        if len({part.batch for part in self.batches if part.job_id == batch.job_id}) < batch.batches:
            return
        self.known[batch.document_id] = DocumentInfo(
            id=batch.document_id,
            filename=batch.filename,
            status="ready",
            pages=batch.pages,
            chunks=batch.total_chunks,
            job_id=batch.job_id,
        )
        event = DocumentIngested(
            job_id=batch.job_id,
            document_id=batch.document_id,
            filename=batch.filename,
            pages=batch.pages,
            chunks=batch.total_chunks,
            vectors=batch.total_chunks,
        )
        await delivery.publish(event, to=DOCUMENT_EVENTS)
        end = JobFinished(job_id=batch.job_id, status="done", pages=batch.pages, chunks=batch.total_chunks)
        await delivery.append(end, to=JOBS_JOURNAL, entity=batch.job_id)

    async def _get(self, delivery: Delivery[GetDocument]) -> None:
        found = self.known.get(delivery.message.document_id)
        if found:
            await delivery.reply(DocumentsFound(documents=(found,), total=1))
        else:
            await delivery.fail(Problem(code="document_not_found", message="none", status=404))
