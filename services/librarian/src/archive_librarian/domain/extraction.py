"""What the extraction of a document reports while it runs and when it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from archive_librarian.domain.chunker import Piece
from archive_librarian.domain.document import Format


class Phase(StrEnum):
    EXTRACTING = "extracting"
    CHUNKING = "chunking"


@dataclass(frozen=True, slots=True)
class Progress:
    """Pages read so far, of all pages, both 0 until the file is open; or characters cut so far, of all."""

    phase: Phase
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Extraction:
    """A document as chunks. `bad_pages` (from 1) could not be read; the rest of the document is here.

    `title` is None where the document does not name itself. `tokenizer` counted the tokens of the pieces.
    """

    title: str | None
    format: Format
    pages: int
    pieces: tuple[Piece, ...]
    tokenizer: str
    bad_pages: tuple[int, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict[str, str])
