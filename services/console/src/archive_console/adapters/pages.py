"""Pages of PDF documents as pictures, drawn in processes of their own.

A hostile file may crash or stall the engine that draws it; it takes a worker with it, not the page.
"""

import asyncio
import tempfile
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
from anyio import BrokenWorkerProcess, CapacityLimiter

from archive_blobs import BlobRef, Blobs
from archive_console.domain import marking
from archive_console.domain.errors import NotThere
from archive_console.domain.ports import Box, PageImage

DRAW_S = 20.0
KEPT = 48
FILES = 4


class PdfPages:
    """Draws pages on demand and keeps the latest."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._drawn: OrderedDict[tuple[str, int, int], PageImage] = OrderedDict()
        self._limiter = CapacityLimiter(2)
        self._fetching = asyncio.Lock()
        self._files: OrderedDict[str, Path] = OrderedDict()
        self._folder = tempfile.TemporaryDirectory(prefix="archive-console-")

    def close(self) -> None:
        """Remove the copies of documents."""
        self._folder.cleanup()

    async def picture(self, blob: str, page: int, *, width: int) -> PageImage:
        """Return a page, counted from 1, ``width`` pixels wide. Raises NotThere, BlobError."""
        key = (blob, page, width)
        if key not in self._drawn:
            png, size = await self._work(_draw, blob, page, width)
            self._drawn[key] = PageImage(png=png, width=size[0], height=size[1])
            while len(self._drawn) > KEPT:
                self._drawn.popitem(last=False)
        self._drawn.move_to_end(key)
        return self._drawn[key]

    async def boxes(self, blob: str, page: int, sentence: str) -> tuple[tuple[float, float], tuple[Box, ...]]:
        """Return the size of a page in points, and where a sentence stands on it; nowhere when it is not found."""
        size, found = await self._work(_locate, blob, page, sentence)
        return size, tuple(Box(*box) for box in found)

    async def _work(self, job: Any, blob: str, page: int, wanted: Any) -> Any:
        path = await self._file(blob)
        try:
            with anyio.fail_after(DRAW_S):
                result = await anyio.to_process.run_sync(
                    job, str(path), page, wanted, cancellable=True, limiter=self._limiter
                )
        except (TimeoutError, BrokenWorkerProcess):
            raise NotThere("This page cannot be drawn.", next_step="Download the file to look at it.") from None
        if result is None:
            raise NotThere(f"The document has no page {page}.", next_step="Go back to its first page.")
        return result

    async def _file(self, blob: str) -> Path:
        """Return a local copy of a blob; a handful are kept."""
        async with self._fetching:
            known = self._files.get(blob)
            if known is None:
                ref = BlobRef.parse(blob)
                known = Path(self._folder.name) / ref.sha256
                await self._blobs.fetch(ref, known)
                self._files[blob] = known
                while len(self._files) > FILES:
                    _, old = self._files.popitem(last=False)
                    old.unlink(missing_ok=True)
            self._files.move_to_end(blob)
            return known


def _draw(path: str, page: int, width: int) -> tuple[bytes, tuple[int, int]] | None:
    opened = _open(path, page)
    if opened is None:
        return None
    bitmap = opened.render(scale=width / opened.get_width())
    image: Any = bitmap.to_pil()
    out = BytesIO()
    # Few pages need more than 64 colours to be read, and a picture of that kind is a third as large.
    image.convert("RGB").quantize(64).save(out, "PNG", optimize=True)
    return out.getvalue(), (image.width, image.height)


def _locate(
    path: str, page: int, sentence: str
) -> tuple[tuple[float, float], list[tuple[float, float, float, float]]] | None:
    opened = _open(path, page)
    if opened is None:
        return None
    width, height = opened.get_size()
    text = opened.get_textpage()
    found = marking.find(text.get_text_range(), sentence)
    if found is None:
        return (width, height), []
    start, end = found
    boxes: list[tuple[float, float, float, float]] = []
    for number in range(text.count_rects(start, end - start)):
        left, bottom, right, top = text.get_rect(number)
        boxes.append((left / width, 1 - top / height, (right - left) / width, (top - bottom) / height))
    return (width, height), boxes


def _open(path: str, page: int) -> Any:
    # Imported by the worker alone: the console itself never loads the engine.
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError:
        return None
    return document[page - 1] if 1 <= page <= len(document) else None
