"""POST /library/search and GET /library/stats."""

from typing import Annotated

from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from archive_contracts.memory import ChunkHit, ChunksFound, GetLibraryStats, LibraryStats, SearchChunks
from archive_contracts.streams import MEMORY_QUERIES
from archive_gateway.routes.answers import Json
from archive_gateway.routes.compat.fields import Spoken
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit


class LibraryQuery(BaseModel):
    """What to look for in the documents."""

    query: Spoken
    top_k: Annotated[int, Field(ge=1, le=100)] = 5
    filter_file_type: Annotated[str | None, Field(description="Only documents of this format, such as pdf.")] = None
    document_ids: Annotated[tuple[str, ...], Field(description="Only in these; empty means everywhere.")] = ()


class LibraryChunk(BaseModel):
    """A passage. `similarity_score` is a distance, as the original had it: 0 is equal."""

    text: str
    filename: str
    file_type: str
    chunk_index: int
    total_chunks: int
    tokens: int
    timestamp: float
    similarity_score: float
    similarity_pct: float
    document_id: str
    chunk_id: str
    page_start: int
    page_end: int
    section: tuple[str, ...]


class LibraryResults(BaseModel):
    """Passages, best first."""

    chunks: list[LibraryChunk]
    total: int
    query: str


class LibraryNumbers(BaseModel):
    """How much is in the library."""

    total_chunks: int
    unique_files: int
    files: tuple[str, ...]
    vectors: int
    memories: int
    bytes_on_disk: int


async def search_library(desk: Desk, visit: Visit) -> ASGIApp:
    """Find the passages nearest to a query, by words and by meaning."""
    wanted = await visit.body(LibraryQuery)
    formats = (wanted.filter_file_type.lower().lstrip("."),) if wanted.filter_file_type else ()
    found = await desk.asking.ask(
        SearchChunks(query=wanted.query, top_k=wanted.top_k, document_ids=wanted.document_ids, formats=formats),
        ChunksFound,
        to=MEMORY_QUERIES,
        origin=visit.origin,
    )
    chunks = [_chunk(hit) for hit in found.hits]
    return Json(LibraryResults(chunks=chunks, total=len(chunks), query=wanted.query))


async def library_stats(desk: Desk, visit: Visit) -> ASGIApp:
    """Say how much is in the library."""
    found = await desk.asking.ask(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES, origin=visit.origin)
    return Json(
        LibraryNumbers(
            total_chunks=found.chunks,
            unique_files=found.documents,
            files=found.files,
            vectors=found.vectors,
            memories=found.memories,
            bytes_on_disk=found.bytes_on_disk,
        )
    )


def _chunk(hit: ChunkHit) -> LibraryChunk:
    chunk = hit.chunk
    return LibraryChunk(
        text=chunk.text,
        filename=hit.filename,
        file_type=hit.format,
        chunk_index=chunk.index,
        total_chunks=hit.total_chunks,
        tokens=chunk.tokens,
        timestamp=hit.created_at,
        similarity_score=round(1.0 - hit.similarity, 6),
        similarity_pct=round(100 * max(0.0, hit.similarity), 1),
        document_id=hit.document_id,
        chunk_id=chunk.id,
        page_start=chunk.page_start,
        page_end=chunk.page_end,
        section=chunk.section,
    )
