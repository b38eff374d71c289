"""Documents: dropping files, watching them become searchable, looking at them."""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.responses import Response

from archive_blobs import BlobRef
from archive_bus import BusError
from archive_console.domain.errors import BadForm, NotThere
from archive_console.domain.marking import joined, on_page, split
from archive_console.routes.asking import FIRST_S, PATIENCE_S, document, documents, passages
from archive_console.routes.confirming import agreed, confirmation
from archive_console.routes.downloads import arriving, known_job
from archive_console.routes.events import streamed, watched
from archive_console.routes.jobs import end
from archive_console.routes.sending import KEPT, sent, unchanged
from archive_console.routes.visit import Visit
from archive_contracts.agents import Source
from archive_contracts.documents import (
    DeleteDocument,
    DocumentDeleted,
    DocumentInfo,
    IngestDocument,
    document_id,
)
from archive_contracts.jobs import Job, JobQueued
from archive_contracts.memory import DocumentText
from archive_contracts.streams import DOCUMENT_COMMANDS, JOBS_JOURNAL, MEMORY_COMMANDS

MOST_FILES = 100
ON_A_PAGE = 50
ON_A_PART = 100
"""Passages of a text without pages that are shown at once: some 100 kB."""
SEARCHED = 1000
LOOK_S = 0.7
PIECE = 64 * 1024
WIDTHS = (480, 960, 1600)
SAMPLE_NAME = "welcome-to-archive-ai.md"


@dataclass(frozen=True, slots=True)
class Row:
    """A document, and its job while that runs."""

    document: DocumentInfo
    job: Job | None


@dataclass(frozen=True, slots=True)
class Part:
    """Passages of a document that are shown at once; a long text without pages has more than one part."""

    found: DocumentText
    number: int = 0

    @property
    def parts(self) -> int:
        """How many there are."""
        return max(1, -(-self.found.total // ON_A_PART))


async def show_documents(visit: Visit) -> Response:
    """Show the library; a catalogue that does not answer at once comes later, by the page's stream."""
    try:
        listed = await _listed(visit, patience_s=FIRST_S)
    except BusError:
        listed = {"rows": None, "page": visit.number("page", 0), "words": visit.sought}
    name = "document_list.html" if visit.list_only else "documents.html"
    return visit.page(name, query=visit.request.url.query, **listed)


async def watch_documents(visit: Visit) -> Response:
    """Send the list whenever it changes."""

    async def look() -> str:
        return visit.html("document_rows.html", **await _listed(visit))

    key = ("documents", visit.request.url.query)
    return streamed(watched(visit, key, look, every_s=LOOK_S))


async def _listed(visit: Visit, *, patience_s: float = PATIENCE_S) -> dict[str, object]:
    words, page = visit.sought, visit.number("page", 0, most=100_000)
    found = await documents(visit, limit=ON_A_PAGE, offset=page * ON_A_PAGE, words=words, patience_s=patience_s)
    rows = [
        Row(info, await known_job(visit, info.job_id) if info.status == "queued" else None) for info in found.documents
    ]
    more = (page + 1) * ON_A_PAGE < found.total
    coming = await arriving(visit, words=words) if page == 0 else []
    return {"rows": rows, "total": found.total, "page": page, "more": more, "words": words, "arriving": coming}


async def upload(visit: Visit) -> Response:
    """Store files and queue their ingestion."""
    form = await visit.form(most_files=MOST_FILES)
    files = [value for value in form.getlist("file") if isinstance(value, UploadFile) and value.filename]
    if not files:
        raise BadForm("No file was chosen.", next_step="Choose one, or drop it anywhere on the page.")
    full = [file for file in files if file.size]
    for file in full:
        ref = await visit.desk.blobs.put(_content(file))
        # In a form that carries files a browser writes quotation marks so.
        name = (file.filename or "document").replace("%22", '"')
        await _queue(visit, ref, name=name, kind=file.content_type or "")
    await form.close()
    if empty := [file.filename for file in files if not file.size]:
        others = f" and {len(empty) - 1} more" if empty[1:] else ""
        added = f"The other {len(full)} of {len(files)} were added." if full else "Choose one with content."
        raise BadForm(f"No content: {empty[0]!r}{others}.", next_step=added)
    return visit.to("/documents")


async def _content(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(PIECE):
        yield piece


async def _queue(visit: Visit, ref: BlobRef, *, name: str, kind: str = "") -> None:
    job, identity = secrets.token_hex(16), document_id(visit.tenant, ref.sha256)
    filename = name.replace("\\", "/").rpartition("/")[2][-255:] or "document"
    queued = JobQueued(job_id=job, kind="ingest", document_id=identity, filename=filename, tenant=visit.tenant)
    await visit.desk.bus.append(queued, to=JOBS_JOURNAL, entity=job, origin=visit.origin, timeout=2.0)
    command = IngestDocument(
        job_id=job, document_id=identity, blob=str(ref), filename=filename, size=ref.size, content_type=kind
    )
    await visit.desk.bus.publish(command, to=DOCUMENT_COMMANDS, origin=visit.origin, timeout=2.0)


async def add_sample(visit: Visit) -> Response:
    """Ingest a page about the system itself, for people who have no file at hand."""
    await visit.form()
    ref = await visit.desk.blobs.put(visit.html("sample.md").encode())
    await _queue(visit, ref, name=SAMPLE_NAME)
    return visit.to("/documents")


async def cancel(visit: Visit) -> Response:
    """Stop the job of a document."""
    await visit.form()
    info = await document(visit)
    if info.job_id and await known_job(visit, info.job_id):
        await end(visit, info.job_id, origin=visit.origin, reason="cancelled by its owner")
    return visit.to("/documents")


async def reprocess(visit: Visit) -> Response:
    """Read a document again from its stored bytes."""
    await visit.form()
    info = await document(visit)
    if not info.blob:
        raise NotThere("The bytes of this document are not kept.", next_step="Upload it again.")
    await _queue(visit, BlobRef.parse(info.blob), name=info.filename)
    return visit.to("/documents")


async def delete(visit: Visit) -> Response:
    """Remove a document with its chunks and vectors."""
    form = await visit.form()
    if not agreed(form):
        info = await document(visit)
        return confirmation(visit, form, f"Delete {info.filename}?", word="Delete", back="/documents")
    gone = DeleteDocument(document_id=visit.request.path_params["document"])
    await visit.desk.bus.request(gone, DocumentDeleted, to=MEMORY_COMMANDS, origin=visit.origin, timeout=10.0)
    return visit.to("/documents")


async def show_source(visit: Visit) -> Response:
    """Show a document at a page, with a cited sentence marked."""
    info = await document(visit)
    page = max(1, min(visit.number("page", 1), max(1, info.pages)))
    whole = info.format != "pdf"
    part = await _part(visit, info.id) if whole else Part(await passages(visit, info.id, first=page, last=page))
    answered = await visit.desk.conversations.turn(visit.tenant, visit.word("turn")) if visit.word("turn") else None
    sentence = _sentence(visit, answered[1].sources if answered else (), page=None if whole else page)
    size, boxes = (0.0, 0.0), ()
    if not whole and info.status in {"ready", "partial"}:
        size, boxes = await visit.desk.pages.boxes(info.blob, page, sentence)
    shown_text = joined(part.found.chunks if whole else on_page(part.found.chunks, page))
    return visit.page(
        "document.html",
        document=info,
        shown=page,
        sentence=sentence,
        pieces=split(shown_text.text, sentence, shown_text.headings),
        part=part,
        turn=answered[1].id if answered else "",
        size=size,
        boxes=boxes,
        widths=WIDTHS,
        back=f"/chat/{answered[0]}#turn-{answered[1].id}" if answered else "",
    )


async def _part(visit: Visit, name: str) -> Part:
    """Return the part of a text without pages that the address names, or else the one that holds the cited passage."""
    chunk = visit.request.path_params.get("chunk", "")
    number, searched = visit.number("part", 0), 0
    while chunk and not visit.word("part"):
        found = await passages(visit, name, offset=searched, limit=SEARCHED)
        place = next((place for place, each in enumerate(found.chunks) if each.id == chunk), None)
        if place is not None:
            number = (searched + place) // ON_A_PART
            break
        searched += SEARCHED
        if searched >= found.total:
            break
    return Part(await passages(visit, name, offset=number * ON_A_PART, limit=ON_A_PART), number)


def _sentence(visit: Visit, sources: Sequence[Source], *, page: int | None) -> str:
    """Return the sentence that an answer's source points to; empty on a page that does not hold it."""
    chunk = visit.request.path_params.get("chunk", "")
    if not chunk:
        return visit.word("mark")[:2000]
    source = next((source for source in sources if source.chunk_id == chunk), None)
    return "" if source is None or (page and source.page and source.page != page) else source.sentence


async def draw_page(visit: Visit) -> Response:
    """Send a page of a PDF as a picture."""
    info = await document(visit)
    page, width = visit.request.path_params["page"], visit.number("width", WIDTHS[1])
    width = min(WIDTHS, key=lambda offered: abs(offered - width))
    # The id of a document is that of its content: the picture of a page never changes.
    tag = f'"{BlobRef.parse(info.blob).sha256[:32]}-{page}-{width}"'
    if (same := unchanged(visit, tag, cached=KEPT)) is not None:
        return same
    picture = await visit.desk.pages.picture(info.blob, page, width=width)
    return Response(picture.png, media_type="image/png", headers={"cache-control": KEPT, "etag": tag, "vary": "Cookie"})


async def download(visit: Visit) -> Response:
    """Send the bytes of a document as they were uploaded."""
    info = await document(visit)
    return await sent(visit, BlobRef.parse(info.blob), name=info.filename)
