"""Markdown: headings, paragraphs, lists, tables and code as blocks."""

from __future__ import annotations

import re

from archive_librarian.adapters.text import decode, note_decoding
from archive_librarian.domain.document import Block, Extracted, Format, Kind
from archive_librarian.domain.errors import EmptyDocument

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+")
_RULE = re.compile(r" {0,3}(?:[-*_][ \t]*){3,}$")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?[ \t]*$")
_COMMENT = re.compile(r" {0,3}<!--")
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.*?)[\"']?[ \t]*$", re.MULTILINE)


def read_markdown(data: bytes) -> Extracted:
    """Raises EmptyDocument when nothing but markup is left."""
    decoded = decode(data)
    text = decoded.text.replace("\r\n", "\n").replace("\r", "\n")
    title, body = _front_matter(text)
    blocks = _Reader().read(body.split("\n"))
    if not blocks:
        raise EmptyDocument("The Markdown file holds no text.")
    return Extracted(
        format=Format.MARKDOWN,
        pages=1,
        blocks=tuple(blocks),
        title=title or next((block.text for block in blocks if block.heading_level == 1), None),
        metadata=note_decoding(decoded),
    )


def _front_matter(text: str) -> tuple[str | None, str]:
    """Split off a YAML block at the top; its title is the document's, the rest is kept as text."""
    if not text.startswith("---\n"):
        return None, text
    end = text.find("\n---", 4)
    if end < 0 or not re.match(r"[A-Za-z_][\w-]*:", text[4:]):
        return None, text
    found = _FRONT_TITLE.search(text[4:end])
    return (found.group(1) or None) if found else None, text[4:end] + "\n\n" + text[end + 4 :].lstrip("-")


class _Reader:
    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._open: list[str] = []
        self._fence: str | None = None
        self._comment = False

    def read(self, lines: list[str]) -> list[Block]:
        for line in lines:
            if self._fence is not None:
                self._inside_fence(line, self._fence)
            elif self._comment or _COMMENT.match(line):
                self._inside_comment(line)
            else:
                self._line(line)
        self._close()
        return self._blocks

    def _inside_fence(self, line: str, fence: str) -> None:
        if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            self._fence = None
        elif line.strip():
            self._blocks.append(Block(line, kind=Kind.CODE))

    def _inside_comment(self, line: str) -> None:
        """Leave out what no reader of the page sees; what follows a comment on its last line is seen."""
        _, ends, rest = line.partition("-->")
        self._comment = not ends
        if rest.strip():
            self._line(rest)
        else:
            self._close()

    def _line(self, line: str) -> None:
        fence, heading, underline = _FENCE.match(line), _ATX.match(line), _UNDERLINE.match(line)
        if fence:
            self._close()
            self._fence = fence.group(1)
        elif not line.strip():
            self._close()
        elif heading:
            self._close()
            self._heading(heading.group(2) or "", len(heading.group(1)))
        elif underline and self._open and not _ITEM.match(self._open[0]):
            text = " ".join(self._open)
            self._open = []
            self._heading(text, 1 if underline.group(1)[0] == "=" else 2)
        elif _RULE.match(line):
            self._close()
        elif not self._open and line.startswith(("    ", "\t")) and not _ITEM.match(line):
            self._blocks.append(Block(line, kind=Kind.CODE))
        else:
            self._prose(line)

    def _prose(self, line: str) -> None:
        if line.lstrip().startswith("|"):
            self._close()
            if not _TABLE_RULE.match(line):
                cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
                self._blocks.append(Block(" | ".join(cells), kind=Kind.ROW))
            return
        if _ITEM.match(line):
            self._close()
        self._open.append(line.strip())
        if line.endswith("  "):
            self._close()

    def _heading(self, text: str, level: int) -> None:
        if text.strip():
            self._blocks.append(Block(text.strip(), heading_level=level))

    def _close(self) -> None:
        if self._open:
            self._blocks.append(Block(" ".join(self._open)))
            self._open = []
