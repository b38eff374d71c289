"""PDF by pdfium: text and font size per line, outline, form values, tables.

pdfium is not thread-safe: two threads in it crash or swap text silently. Only worker processes import this.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
# pypdfium2's raw interface is a generated ctypes module without types.

from __future__ import annotations

import ctypes
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
from pypdfium2 import raw

from archive_librarian.adapters.pdf_tables import Box, is_ruled, read_tables
from archive_librarian.domain.document import Block, Kind, OutlineEntry
from archive_librarian.domain.errors import Corrupt, EmptyDocument, Encrypted, ExtractionError

_MOST_BOOKMARKS = 5_000
_MOST_OBJECTS = 5_000
_MOST_FIELDS = 2_000
_HYPHEN_AT_LINE_END = "\ufffe"
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SPACED_LETTERS = re.compile(r"(?<![^\W_])(?:[A-Za-z0-9] ){3,}[A-Za-z0-9](?![^\W_])")
_ALEF_LAM = re.compile("[\u0627\u0622\u0623\u0625]\u0644")
_LONGEST_FONT_NAME = 128
_BOLD_NAME = re.compile(rb"(?i)bold|(?:^|[-,+ ])(?:black|heavy|demi)|(?:CM|SF)BX")
_FORCE_BOLD = 1 << 18
_FORMS = frozenset({1, 2, 3})  # AcroForm and the two XFA kinds


class UnreadablePage(Exception):
    """pdfium could not load this page; the others are not affected."""


@dataclass(slots=True)
class _Line:
    text: str
    size: float
    start: int
    end: int
    bold: bool


class PdfFile:
    """An open PDF. Pages count from 0 here, from 1 in the blocks."""

    def __init__(self, path: Path) -> None:
        """Raises Encrypted, Corrupt or EmptyDocument (no pages)."""
        # Not pypdfium2's own opening: for a document without pages it reports the error of an earlier file.
        handle = raw.FPDF_LoadDocument(os.fsencode(path) + b"\x00", None)
        if not handle:
            raise _opening_error(raw.FPDF_GetLastError())
        self._pdf = pdfium.PdfDocument(handle)
        self.pages = len(self._pdf)
        if self.pages < 1:
            self._pdf.close()
            raise EmptyDocument("The PDF has no pages.")
        self.pictures = False
        """Whether a page without text showed something else."""
        self._fills_forms = self._pdf.get_formtype() in _FORMS and self._pdf.init_forms()

    def close(self) -> None:
        self._pdf.close()

    def metadata(self) -> dict[str, str]:
        """Title, author, subject, keywords and dates where the file names them."""
        names = {"Title": "title", "Author": "author", "Subject": "subject", "Keywords": "keywords"}
        names |= {"CreationDate": "created", "ModDate": "modified"}
        found: dict[str, str] = {}
        for key, name in names.items():
            try:
                value = self._pdf.get_metadata_value(key).replace("\x00", "").strip()
            except UnicodeDecodeError:
                continue
            if value:
                found[name] = value[:500]
        return found

    def outline(self) -> list[OutlineEntry]:
        """Bookmarks that point to a page of this file, in reading order."""
        found: list[OutlineEntry] = []
        for bookmark in self._pdf.get_toc(max_depth=6):
            if len(found) == _MOST_BOOKMARKS:
                break
            target = bookmark.get_dest()
            page = target.get_index() if target else None
            title = " ".join(bookmark.get_title().replace("\x00", "").split())
            if page is not None and title:
                found.append(OutlineEntry(title, bookmark.level + 1, page + 1))
        return found

    def read_page(self, index: int) -> list[Block]:
        """The lines, table rows and form values of one page; raises UnreadablePage."""
        page = raw.FPDF_LoadPage(self._pdf, index)
        if not page:
            raise UnreadablePage
        try:
            text_page = raw.FPDFText_LoadPage(page)
            if not text_page:
                raise UnreadablePage
            try:
                blocks = self._text_blocks(page, text_page, index)
            finally:
                raw.FPDFText_ClosePage(text_page)
            if self._fills_forms:
                blocks.extend(self._form_values(page, index))
            if not blocks:
                self.pictures = self.pictures or raw.FPDFPage_CountObjects(page) > 0
            return blocks
        finally:
            raw.FPDF_ClosePage(page)

    def _text_blocks(self, page: Any, text_page: Any, index: int) -> list[Block]:
        lines = _lines(text_page)
        if not lines:
            return []
        blocks = [Block(line.text, index + 1, Kind.LINE, round(line.size, 2), bold=line.bold) for line in lines]
        segments = _segments(page)
        if not is_ruled(segments):
            return blocks
        for box, rows in read_tables(self._pdf, index):
            inside = [number for number, line in enumerate(lines) if _lies_in(text_page, line, box)]
            inside = [number for number in inside if blocks[number].kind is Kind.LINE]
            if not inside or not _same_letters((lines[number].text for number in inside), rows):
                continue
            first = inside[0]
            for number in inside:
                blocks[number] = Block("", index + 1, Kind.ROW)
            blocks[first] = Block("\n".join(rows), index + 1, Kind.ROW)
        return [block for block in blocks if block.text]

    def _form_values(self, page: Any, index: int) -> list[Block]:
        """Text typed into fields is no part of the page's text in pdfium."""
        form = self._pdf.formenv
        found: list[Block] = []
        for number in range(min(raw.FPDFPage_GetAnnotCount(page), _MOST_FIELDS)):
            annotation = raw.FPDFPage_GetAnnot(page, number)
            if not annotation:
                continue
            try:
                if raw.FPDFAnnot_GetSubtype(annotation) != raw.FPDF_ANNOT_WIDGET:
                    continue
                value = _wide(raw.FPDFAnnot_GetFormFieldValue, form, annotation)
                if not value.strip() or value == "Off":
                    continue
                label = _wide(raw.FPDFAnnot_GetFormFieldAlternateName, form, annotation)
                label = label.strip() or _wide(raw.FPDFAnnot_GetFormFieldName, form, annotation)
                found.append(Block(f"{label}: {value}" if label else value, index + 1))
            finally:
                raw.FPDFPage_CloseAnnot(annotation)
        return found


def _opening_error(code: int) -> ExtractionError:
    if code in {raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY}:
        return Encrypted("The PDF is protected by a password.")
    return Corrupt("The file begins like a PDF, but its structure is damaged.")


def _wide(function: Any, form: Any, annotation: Any) -> str:
    """Call a pdfium getter that fills a UTF-16 buffer; sizes are in bytes with a closing zero."""
    size = function(form, annotation, None, 0)
    if size <= 2:
        return ""
    buffer = (ctypes.c_ushort * (size // 2 + 1))()
    function(form, annotation, buffer, size)
    return bytes(memoryview(buffer).cast("B")[: size - 2]).decode("utf-16-le", "replace")


def _lines(text_page: Any) -> list[_Line]:
    count = raw.FPDFText_CountChars(text_page)
    if count <= 0:
        return []
    buffer = (ctypes.c_ushort * (2 * count + 2))()
    written = raw.FPDFText_GetText(text_page, 0, count, buffer)
    text = bytes(memoryview(buffer).cast("B")[: 2 * max(written - 1, 0)]).decode("utf-16-le", "replace")
    matrix = raw.FS_MATRIX()
    lines: list[_Line] = []
    at = 0
    for piece in text.split("\r\n"):
        length = len(piece)
        stripped = piece.strip()
        if stripped:
            first = raw.FPDFText_GetCharIndexFromTextIndex(text_page, at + length - len(piece.lstrip()))
            size = raw.FPDFText_GetFontSize(text_page, first)
            if raw.FPDFText_GetMatrix(text_page, first, matrix):
                size *= math.hypot(matrix.c, matrix.d)
            last = first + len(stripped) - 1
            bold = _is_bold(text_page, first) and _is_bold(text_page, last)
            lines.append(_Line(_repaired(stripped, text_page, first), size, first, last, bold))
        at += length + 2
    return lines


def _is_bold(text_page: Any, index: int) -> bool:
    """Whether a character is set in a bold font, by the font's name or its own word."""
    flags, name = ctypes.c_int(), ctypes.create_string_buffer(_LONGEST_FONT_NAME)
    size = raw.FPDFText_GetFontInfo(text_page, index, name, _LONGEST_FONT_NAME, flags)
    if size == 0:
        return False
    return bool(flags.value & _FORCE_BOLD) or _BOLD_NAME.search(name.value) is not None


def _repaired(line: str, text_page: Any, first: int) -> str:
    """Undo what pdfium does to hyphens, to Latin words among CJK text and to Arabic ligatures."""
    if _ALEF_LAM.search(line):
        line = _with_ligatures_in_order(line, text_page, first)
    line = line.replace(_HYPHEN_AT_LINE_END, "").replace("\r", " ").replace("\n", " ")
    if _CJK.search(line):
        line = _SPACED_LETTERS.sub(lambda found: found.group().replace(" ", ""), line)
    return line


def _with_ligatures_in_order(line: str, text_page: Any, first: int) -> str:
    """One glyph for lam-alef stands for two characters, which pdfium reverses with the line.

    Both characters of such a glyph have the same box; a real alef and lam do not.
    """
    fixed = list(line)
    for found in _ALEF_LAM.finditer(line):
        one, two = _origin(text_page, first + found.start()), _origin(text_page, first + found.start() + 1)
        if one is not None and one == two:
            fixed[found.start()], fixed[found.start() + 1] = line[found.start() + 1], line[found.start()]
    return "".join(fixed)


def _origin(text_page: Any, index: int) -> tuple[float, float] | None:
    x, y = ctypes.c_double(), ctypes.c_double()
    return (x.value, y.value) if raw.FPDFText_GetCharOrigin(text_page, index, x, y) else None


def _segments(page: Any) -> list[Box]:
    """Bounding boxes (left, bottom, right, top) of the drawn paths of a page, in points."""
    count = raw.FPDFPage_CountObjects(page)
    if not 4 <= count <= _MOST_OBJECTS:
        return []
    left, bottom, right, top = ctypes.c_float(), ctypes.c_float(), ctypes.c_float(), ctypes.c_float()
    boxes: list[Box] = []
    for number in range(count):
        item = raw.FPDFPage_GetObject(page, number)
        if raw.FPDFPageObj_GetType(item) == raw.FPDF_PAGEOBJ_PATH and raw.FPDFPageObj_GetBounds(
            item, left, bottom, right, top
        ):
            boxes.append((left.value, bottom.value, right.value, top.value))
    return boxes


def _lies_in(text_page: Any, line: _Line, box: Box) -> bool:
    """Whether both the first and the last character of a line lie in `box`."""
    for index in (line.start, line.end):
        origin = _origin(text_page, index)
        if origin is None:
            return False
        if not (box[0] - 2 <= origin[0] <= box[2] + 2 and box[1] - 2 <= origin[1] <= box[3] + 2):
            return False
    return True


def _same_letters(lines: Any, rows: list[str]) -> bool:
    """Rows replace lines only when next to nothing would be lost."""
    lost = _letters("".join(lines))
    for letter, number in _letters("".join(rows)).items():
        lost[letter] = lost.get(letter, 0) - number
    total = sum(_letters("".join(rows)).values())
    return sum(number for number in lost.values() if number > 0) <= 0.005 * total


def _letters(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for letter in text:
        if letter.isalnum():
            found[letter] = found.get(letter, 0) + 1
    return found
