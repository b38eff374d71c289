"""Tables with drawn lines, by pdfplumber, which is far too slow (41 ms a page) to be asked without need."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pdfplumber's tables are typed loosely.

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pypdfium2 as pdfium

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in points; the origin is the lower left corner of the page."""

Span = tuple[float, float]

_SHORTEST_RULE = 20.0
_SHORTEST_UPRIGHT = 6.0
_GAP = 3.0
_NARROWEST = 15.0  # points; decorated frames have uprights closer to their ends than any column is wide
_MOST_RULES = 400


def is_ruled(boxes: Sequence[Box]) -> bool:
    """Whether drawn lines cross like those of a table: two horizontal ones with an upright inside both.

    Frames around code and notes have uprights at their ends only, so they do not count.
    """
    across: dict[int, list[Span]] = {}
    uprights: dict[int, list[Span]] = {}
    for left, bottom, right, top in boxes:
        if right - left >= _SHORTEST_RULE:
            for y in {round(bottom / 2), round(top / 2)}:
                across.setdefault(y, []).append((left, right))
        if top - bottom >= _SHORTEST_UPRIGHT:
            for x in {round(left / 2), round(right / 2)}:
                uprights.setdefault(x, []).append((bottom, top))
    if len(across) < 2 or len(uprights) < 3 or len(across) * len(uprights) > _MOST_RULES**2:
        return False
    rules = [(2 * y, *span) for y, spans in across.items() for span in _merged(spans)]
    for x, spans in uprights.items():
        for low, high in _merged(spans):
            crossed = {
                y
                for y, left, right in rules
                if left + _NARROWEST < 2 * x < right - _NARROWEST and low - 3 <= y <= high + 3
            }
            if len(crossed) >= 2 and max(crossed) - min(crossed) >= _SHORTEST_UPRIGHT:
                return True
    return False


def _merged(spans: list[Span]) -> list[Span]:
    """Join spans that touch: a rule is often drawn cell by cell."""
    joined: list[Span] = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1] + _GAP:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return joined


def read_tables(pdf: Any, index: int) -> list[tuple[Box, list[str]]]:
    """The place and the rows (cells joined by ' | ') of each table on page `index` (from 0) of a pdfium document.

    pdfplumber gets the page as a file of its own: opening a long document costs it seconds.
    """
    try:
        return _read(_page_alone(pdf, index))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - pdfminer raises anything on damaged files; pdfium's text stays
        return []


def _page_alone(pdf: Any, index: int) -> io.BytesIO:
    alone = pdfium.PdfDocument.new()
    try:
        alone.import_pages(pdf, [index])
        buffer = io.BytesIO()
        alone.save(buffer)
        return buffer
    finally:
        alone.close()


def _read(file: io.BytesIO) -> list[tuple[Box, list[str]]]:
    import pdfplumber

    found: list[tuple[Box, list[str]]] = []
    with pdfplumber.open(file) as document:
        page = document.pages[0]
        if page.rotation or tuple(page.mediabox[:2]) != (0, 0):
            return []
        height = float(page.height)
        for table in page.find_tables():
            left, top, right, bottom = table.bbox
            rows = [_row(cells) for cells in table.extract()]
            rows = [row for row in rows if row.strip(" |")]
            if len(rows) > 1 and any(" | " in row for row in rows):
                found.append(((left, height - bottom, right, height - top), rows))
        page.close()
    return found


def _row(cells: Sequence[str | None]) -> str:
    return " | ".join(" ".join((cell or "").split()) for cell in cells)
