"""What an extractor hands over, whatever the file's format was."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Format(StrEnum):
    PDF = "pdf"
    DOCX = "docx"
    HTML = "html"
    MARKDOWN = "markdown"
    TEXT = "text"


class Kind(StrEnum):
    LINE = "line"
    """A visual line; whether its paragraph goes on below is decided in `flow`."""
    PART = "part"
    """The beginning of a paragraph that surely goes on in the next block (a page break inside it)."""
    PARAGRAPH = "paragraph"
    ROW = "row"
    """A table row, cells joined by ' | '."""
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Block:
    """A run of text on one page. Pages count from 1; `font_size` is in points; a `bold` line begins and ends so."""

    text: str
    page: int = 1
    kind: Kind = Kind.PARAGRAPH
    font_size: float | None = None
    heading_level: int | None = None
    bold: bool = False


@dataclass(frozen=True, slots=True)
class OutlineEntry:
    """A bookmark: nesting level from 1, and the page it points to."""

    title: str
    level: int
    page: int


@dataclass(frozen=True, slots=True)
class Extracted:
    """A document before chunking. `bad_pages` could not be read and are missing from `blocks`."""

    format: Format
    pages: int
    blocks: tuple[Block, ...]
    title: str | None = None
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    outline: tuple[OutlineEntry, ...] = ()
    bad_pages: tuple[int, ...] = ()
