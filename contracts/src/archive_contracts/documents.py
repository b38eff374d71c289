"""Documents, their chunks, and what happens to them."""

from hashlib import sha256
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archive_contracts.base import Message, Model, Problem

DocumentStatus = Literal["queued", "ready", "partial", "failed", "deleted"]


def document_id(tenant: str, content_sha256: str) -> str:
    """Return the id of a document: the same content of the same tenant is the same document."""
    return sha256(f"{tenant}\n{content_sha256}".encode()).hexdigest()[:32]


def chunk_id(document: str, recipe: str, index: int) -> str:
    """Return the id of a chunk: the same document read by the same recipe has the same chunks."""
    return sha256(f"{document}\n{recipe}\n{index}".encode()).hexdigest()[:32]


class Chunk(Model):
    """A passage of a document: at most the configured number of tokens, ending at a sentence's end."""

    id: str
    index: Annotated[int, Field(ge=0)]
    text: str
    tokens: Annotated[int, Field(ge=0)]
    page_start: Annotated[int, Field(ge=1)] = 1
    page_end: Annotated[int, Field(ge=1)] = 1
    char_start: Annotated[int, Field(description="Span in the text of the whole document.", ge=0)] = 0
    char_end: Annotated[int, Field(ge=0)] = 0
    section: Annotated[tuple[str, ...], Field(description="Headings above the passage, outermost first.")] = ()
    marks: Annotated[
        tuple[tuple[int, int], ...],
        Field(description="(offset in text, page) where each page's part begins."),
    ] = ()
    headings: Annotated[
        tuple[tuple[int, int], ...],
        Field(description="(start, end) of each heading in text; what follows one is a sentence of its own."),
    ] = ()


class IngestDocument(Message):
    """Turn a stored file into searchable chunks."""

    type: ClassVar[str] = "document.ingest-stored.v1"
    job_id: str
    document_id: str
    blob: Annotated[str, Field(description="Reference of the file's bytes in the blob store.")]
    filename: str
    size: Annotated[int, Field(ge=0)]
    content_type: str = ""
    origin: Annotated[Literal["api", "folder", "ingress"], Field(description="The door it came through.")] = "api"
    replace: Annotated[str | None, Field(description="Document that this one supersedes.")] = None


class FetchDocument(Message):
    """Download what an address of the web names, and turn it into searchable chunks under the same job."""

    type: ClassVar[str] = "document.fetch.v1"
    job_id: str
    url: str
    origin: Annotated[Literal["api", "ingress"], Field(description="The door it came through.")] = "api"


class IngestFromOutside(Message):
    """What a foreign publisher writes to an ingress stream: exactly one of text, blob or url."""

    type: ClassVar[str] = "document.ingest.v1"
    text: str | None = None
    blob: str | None = None
    url: str | None = None
    filename: str = ""


class DocumentChunked(Message):
    """A batch of a document's chunks; a job is complete when all ``batches`` have come."""

    type: ClassVar[str] = "document.chunked.v1"
    job_id: str
    document_id: str
    filename: str
    format: str
    title: str = ""
    size: int = 0
    blob: str = ""
    pages: Annotated[int, Field(ge=0)]
    bad_pages: tuple[int, ...] = ()
    recipe: Annotated[str, Field(description="Identity of extractor and chunker settings; part of chunk ids.")]
    batch: Annotated[int, Field(ge=0)]
    batches: Annotated[int, Field(ge=1)]
    total_chunks: Annotated[int, Field(ge=0)]
    chunks: tuple[Chunk, ...]
    replace: str | None = None
    started_at: Annotated[float, Field(description="When its first chunks were sent, seconds since the epoch.")] = 0.0


class DocumentIngested(Message):
    """A document is searchable."""

    type: ClassVar[str] = "document.ingested.v1"
    job_id: str
    document_id: str
    filename: str
    pages: int
    chunks: int
    vectors: int
    bad_pages: tuple[int, ...] = ()
    duplicate: Annotated[bool, Field(description="The same content had been ingested before.")] = False


class DocumentFailed(Message):
    """A document was refused or could not be read; its bytes are kept with the reason."""

    type: ClassVar[str] = "document.failed.v1"
    job_id: str
    document_id: str
    filename: str
    blob: str = ""
    size: int = 0
    problem: Problem


class DeleteDocument(Message):
    """Remove a document with its chunks and vectors."""

    type: ClassVar[str] = "document.delete.v1"
    document_id: str


class DocumentDeleted(Message):
    """A document is gone. Also the reply to DeleteDocument."""

    type: ClassVar[str] = "document.deleted.v1"
    document_id: str


PAGELESS = frozenset({"html", "markdown", "text"})
"""Formats without pages that people know: all that is in such a file counts as its first page."""


class DocumentInfo(Model):
    """A row of the catalogue."""

    id: str
    filename: str
    status: DocumentStatus
    format: str = ""
    title: str = ""
    size: int = 0
    pages: int = 0
    chunks: int = 0
    bad_pages: tuple[int, ...] = ()
    job_id: str = ""
    blob: str = ""
    created_at: Annotated[float, Field(description="Seconds since the epoch.")] = 0.0
    error: Problem | None = None
