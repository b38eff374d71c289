"""The three tasks of a worker process: begin a file, read some more pages of a PDF, finish.

A task is short, so that a worker is free for the next document soon: a PDF is read for a fraction of a second
at a time, its blocks wait in the service as opaque bytes, and the last task cuts them into chunks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archive_librarian.adapters.archives import Container
from archive_librarian.adapters.tokenizer import load_tokenizer
from archive_librarian.domain.chunker import ChunkOptions, Piece, Tokenizer, chunk
from archive_librarian.domain.document import Block, Extracted, Format, OutlineEntry
from archive_librarian.domain.errors import Corrupt, EmptyDocument, ExtractionError, NoText, ResourceLimit
from archive_librarian.domain.flow import flow
from archive_librarian.domain.sections import sectioned
from archive_librarian.domain.sniff import SAMPLE_BYTES, classify, is_zip

if TYPE_CHECKING:
    from archive_librarian.adapters.pdf import PdfFile

_MOST_TEXT_BYTES = 64 << 20
_MOST_PAGES = 20_000
_OLE_BYTES = 4 << 20
_OLE_START = b"\xd0\xcf\x11\xe0"

OnPage = Callable[[int, int], None]
"""Called before each page with its number (from 1) and the number of pages."""


@dataclass(slots=True)
class Slice:
    """What a task read of a PDF: pages `first` up to, not including, `next` (from 0)."""

    head: dict[str, Any]
    first: int
    next: int
    blocks: list[Block] = field(default_factory=list[Block])
    bad: list[int] = field(default_factory=list[int])
    pictures: bool = False

    @property
    def complete(self) -> bool:
        return self.first == 0 and self.next >= self.head["pages"]


@dataclass(frozen=True, slots=True)
class Cut:
    """A document on its way into chunks: `length` is that of its running text, in characters."""

    length: int
    pieces: Iterator[Piece]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a PDF is read: pages to leave out (from 1), seconds before pausing, whom to tell."""

    skip: frozenset[int]
    budget_s: float
    on_page: OnPage


def sniff(path: Path, filename: str) -> Format:
    """The format of a file; raises as `classify` does."""
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
        if sample.startswith(_OLE_START):
            sample += file.read(_OLE_BYTES)
    if not is_zip(sample):
        return classify(sample, filename=filename)
    with Container(path) as container:
        return classify(sample, filename=filename, members=container.names)


def _text_reader(kind: Format) -> Callable[[bytes], Extracted]:
    if kind is Format.HTML:
        from archive_librarian.adapters.html import read_html

        return read_html
    if kind is Format.MARKDOWN:
        from archive_librarian.adapters.markdown import read_markdown

        return read_markdown
    from archive_librarian.adapters.text import read_text

    return read_text


class Reader:
    """Reads files; keeps the last PDF open, since a long document comes back for its next slice."""

    def __init__(self) -> None:
        self._open: PdfFile | None = None
        self._identity: tuple[Path, int, int] | None = None

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = self._identity = None

    def begin(self, path: Path, filename: str, reading: Reading) -> Extracted | Slice:
        """Read a whole file, or the first pages of a PDF."""
        kind = sniff(path, filename)
        if kind is Format.PDF:
            return self.read_pages(path, 0, None, reading)
        if kind is Format.DOCX:
            from archive_librarian.adapters.docx import read_docx

            return read_docx(path)
        size = path.stat().st_size
        if size > _MOST_TEXT_BYTES:
            raise ResourceLimit(f"A text of {size >> 20} MB is over the limit of {_MOST_TEXT_BYTES >> 20} MB.")
        return _text_reader(kind)(path.read_bytes())

    def read_pages(self, path: Path, first: int, stop: int | None, reading: Reading) -> Slice:
        """Read pages from `first` (from 0) until `stop`, the end, or the end of the time budget."""
        from archive_librarian.adapters.pdf import UnreadablePage

        pdf = self._pdf(path)
        if pdf.pages > _MOST_PAGES:
            raise ResourceLimit(f"The PDF has {pdf.pages} pages, over the limit of {_MOST_PAGES}.")
        head: dict[str, Any] = {"pages": pdf.pages}
        if first == 0:
            head |= {"metadata": pdf.metadata(), "outline": [(e.title, e.level, e.page) for e in pdf.outline()]}
        found = Slice(head, first, first)
        until = time.monotonic() + reading.budget_s
        for index in range(first, min(stop or pdf.pages, pdf.pages)):
            reading.on_page(index + 1, pdf.pages)
            try:
                if index + 1 in reading.skip:
                    raise UnreadablePage
                found.blocks.extend(pdf.read_page(index))
            except UnreadablePage:
                found.bad.append(index + 1)
            found.next = index + 1
            if time.monotonic() > until:
                break
        found.pictures = pdf.pictures
        if found.next >= (stop or pdf.pages):
            self.close()
        return found

    def _pdf(self, path: Path) -> PdfFile:
        from archive_librarian.adapters.pdf import PdfFile

        status = path.stat()
        identity = (path, status.st_ino, status.st_mtime_ns)
        if self._open is None or self._identity != identity:
            self.close()
            self._open, self._identity = PdfFile(path), identity
        return self._open


def assemble(head: dict[str, Any], blocks: list[Block], bad: Iterable[int], *, pictures: bool) -> Extracted:
    """All slices of a PDF as one document; raises when there is no text in them."""
    bad_pages = tuple(sorted(set(bad)))
    if not blocks:
        raise _why_empty(head["pages"], len(bad_pages), pictures=pictures)
    metadata = dict(head["metadata"])
    return Extracted(
        format=Format.PDF,
        pages=head["pages"],
        blocks=tuple(blocks),
        title=metadata.pop("title", None),
        metadata=metadata,
        outline=tuple(OutlineEntry(*entry) for entry in head["outline"]),
        bad_pages=bad_pages,
    )


def _why_empty(pages: int, bad: int, *, pictures: bool) -> ExtractionError:
    counted = "1 page" if pages == 1 else f"{pages} pages"
    if bad >= pages:
        return Corrupt(f"None of the document's {counted} can be read.")
    if pictures:
        return NoText(f"The document has {counted} with pictures (a scan?) but no text.")
    return EmptyDocument(f"The document has {counted} and no text.")


class Cutter:
    """Chunks documents; loads the tokenizer (57 MB) at the first one."""

    def __init__(self) -> None:
        self._tokenizer: Tokenizer | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer()
        return self._tokenizer

    def cut(self, document: Extracted, options: ChunkOptions) -> Cut:
        """Sections, running text, chunks; these are made while they are asked for. Raises EmptyDocument."""
        text = flow(sectioned(document))
        if not text.text.strip():
            raise EmptyDocument("The document holds no letter that can be seen.")
        return Cut(len(text.text), chunk(text, self.tokenizer, options))
