"""From an extraction to the messages that carry it."""

from collections.abc import Iterator
from dataclasses import dataclass

from archive_contracts.documents import Chunk, DocumentChunked, IngestDocument, chunk_id
from archive_librarian.domain.chunker import ChunkOptions, Piece
from archive_librarian.domain.extraction import Extraction

READER = "2"
"""Part of every chunk's identity; raised when the same file would give other text or other chunks."""
CHUNKS_A_BATCH = 16
"""About a quarter of a second of embedding: short enough for progress that moves, long enough to be cheap."""


@dataclass(frozen=True, slots=True)
class Read:
    """A document that has been read, and when it was cut (seconds since the epoch)."""

    command: IngestDocument
    extraction: Extraction
    options: ChunkOptions
    cut_at: float

    @property
    def recipe(self) -> str:
        """Identity of reader, chunker settings and tokenizer."""
        found = self.extraction
        return f"{READER}:{self.options.max_tokens}:{self.options.overlap_tokens}:{found.tokenizer}"


def batches(read: Read) -> Iterator[DocumentChunked]:
    """Yield the document's chunks in messages of a bounded size; the same document gives the same messages."""
    found, command = read.extraction, read.command
    parts = [found.pieces[start : start + CHUNKS_A_BATCH] for start in range(0, len(found.pieces), CHUNKS_A_BATCH)]
    for number, part in enumerate(parts):
        yield DocumentChunked(
            job_id=command.job_id,
            document_id=command.document_id,
            filename=command.filename,
            format=str(found.format),
            title=found.title or command.filename,
            size=command.size,
            blob=command.blob,
            pages=found.pages,
            bad_pages=found.bad_pages,
            recipe=read.recipe,
            batch=number,
            batches=len(parts),
            total_chunks=len(found.pieces),
            chunks=tuple(_chunk(command.document_id, read.recipe, piece) for piece in part),
            replace=command.replace,
            started_at=read.cut_at,
        )


def _chunk(document: str, recipe: str, piece: Piece) -> Chunk:
    return Chunk(
        id=chunk_id(document, recipe, piece.index),
        index=piece.index,
        text=piece.text,
        tokens=piece.tokens,
        page_start=piece.page_start,
        page_end=piece.page_end,
        char_start=piece.char_start,
        char_end=piece.char_end,
        section=piece.section,
        marks=piece.marks,
        headings=piece.headings,
    )
