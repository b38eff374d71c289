"""Questions to memory and what it answers: document chunks, chat turns, the catalogue."""

from typing import Annotated, ClassVar

from pydantic import Field

from archive_contracts.base import Message, Model
from archive_contracts.documents import Chunk, DocumentInfo


class SearchChunks(Message):
    """Find the passages nearest to a query, by words and by meaning."""

    type: ClassVar[str] = "memory.search-chunks.v1"
    query: str
    top_k: Annotated[int, Field(ge=1, le=100)] = 5
    document_ids: Annotated[tuple[str, ...], Field(description="Only in these; empty means everywhere.")] = ()
    formats: tuple[str, ...] = ()


class ChunkHit(Model):
    """A passage that was found."""

    chunk: Chunk
    document_id: str
    filename: str
    format: str = ""
    title: str = ""
    total_chunks: int = 0
    created_at: float = 0.0
    score: Annotated[float, Field(description="Fused rank score; comparable within one answer only.")]
    similarity: Annotated[float, Field(description="Cosine of the query and the chunk's best window.", ge=-1, le=1)]


class ChunksFound(Message):
    """The passages, best first."""

    type: ClassVar[str] = "memory.chunks-found.v1"
    hits: tuple[ChunkHit, ...]
    documents: Annotated[int, Field(description="Searchable documents the tenant has.", ge=0)] = 0


class RecallMemories(Message):
    """Find the remembered turns nearest to a query."""

    type: ClassVar[str] = "memory.recall.v1"
    query: str
    top_k: Annotated[int, Field(ge=1, le=100)] = 10
    session: str | None = None


class MemoryItem(Model):
    """A remembered chat turn."""

    id: str
    text: str
    role: str = "user"
    session: str = "default"
    created_at: Annotated[float, Field(description="Seconds since the epoch.")] = 0.0
    similarity: Annotated[float | None, Field(description="Cosine to the query, when there was one.")] = None


class MemoriesFound(Message):
    """Remembered turns: best first for a query, newest first for a list."""

    type: ClassVar[str] = "memory.memories-found.v1"
    items: tuple[MemoryItem, ...]
    total: int = 0


class ListMemories(Message):
    """A page of what is remembered, newest first."""

    type: ClassVar[str] = "memory.list.v1"
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    offset: Annotated[int, Field(ge=0)] = 0


class GetMemory(Message):
    """One remembered turn."""

    type: ClassVar[str] = "memory.get.v1"
    memory_id: str


class ForgetMemory(Message):
    """Remove a remembered turn."""

    type: ClassVar[str] = "memory.forget.v1"
    memory_id: str


class MemoryForgotten(Message):
    """A remembered turn is gone. Also the reply to ForgetMemory."""

    type: ClassVar[str] = "memory.forgotten.v1"
    memory_id: str


class ForgetSession(Message):
    """Remove all remembered turns of a session."""

    type: ClassVar[str] = "memory.forget-session.v1"
    session: str


class SessionForgotten(Message):
    """Nothing of a session is remembered any more. Also the reply to ForgetSession."""

    type: ClassVar[str] = "memory.session-forgotten.v1"
    session: str


class MemoryStored(Message):
    """A turn was remembered."""

    type: ClassVar[str] = "memory.stored.v1"
    memory_id: str
    session: str


class ListDocuments(Message):
    """A page of the catalogue, newest first."""

    type: ClassVar[str] = "memory.list-documents.v1"
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    offset: Annotated[int, Field(ge=0)] = 0
    words: Annotated[str, Field(description="Only documents whose name or title holds this, whatever its case.")] = ""


class GetDocument(Message):
    """One row of the catalogue."""

    type: ClassVar[str] = "memory.get-document.v1"
    document_id: str


class GetDocumentText(Message):
    """The passages of a document in their order, those of some pages or all."""

    type: ClassVar[str] = "memory.get-document-text.v1"
    document_id: str
    first_page: Annotated[int, Field(ge=1)] = 1
    last_page: Annotated[int | None, Field(ge=1)] = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 200
    offset: Annotated[int, Field(ge=0)] = 0


class DocumentText(Message):
    """Passages of a document; neighbours overlap, as their spans tell."""

    type: ClassVar[str] = "memory.document-text.v1"
    document: DocumentInfo
    chunks: tuple[Chunk, ...]
    total: Annotated[int, Field(description="Passages of these pages.", ge=0)] = 0


class DocumentsFound(Message):
    """Rows of the catalogue."""

    type: ClassVar[str] = "memory.documents-found.v1"
    documents: tuple[DocumentInfo, ...]
    total: int = 0


class GetLibraryStats(Message):
    """How much is in the library."""

    type: ClassVar[str] = "memory.get-stats.v1"


class LibraryStats(Message):
    """How much is in the library of a tenant."""

    type: ClassVar[str] = "memory.stats.v1"
    documents: int
    chunks: int
    vectors: int
    memories: int
    files: tuple[str, ...] = ()
    bytes_on_disk: int = 0
