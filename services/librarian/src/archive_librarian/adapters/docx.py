"""DOCX by a streaming reader of our own, for the transitional and the strict namespaces alike."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# lxml's event iterator is typed too loosely for strict mode.

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxml import etree

from archive_librarian.adapters.archives import Container
from archive_librarian.domain.document import Block, Extracted, Format, Kind
from archive_librarian.domain.errors import Corrupt, EmptyDocument, UnsupportedFormat

_SKIPPED = frozenset({"Fallback", "moveFrom", "del", "instrText", "pPrChange", "rPrChange", "sectPrChange"})
_DEEPEST = 6
_DEEPEST_STYLES = 20  # a circle of styles based on each other ends here
_Element = Any


@dataclass(slots=True)
class _Paragraph:
    parts: list[str] = field(default_factory=list[str])
    style: str | None = None
    level: int | None = None


@dataclass(slots=True)
class _Table:
    cells: list[str] = field(default_factory=list[str])
    cell: list[str] | None = None


def read_docx(path: Path) -> Extracted:
    """Read a Word document.

    Raises UnsupportedFormat when the archive holds no Word document, Corrupt, Encrypted, ResourceLimit and
    EmptyDocument. Pages are those Word wrote down at its last layout; without them everything is on page 1.
    """
    with Container(path) as container:
        main = _main_part(container)
        relations = _relations(container, main)
        levels = _style_levels(_optional(container, relations.get("styles")))
        reader = _Reader(levels)
        body = reader.read(_required(container, main))
        notes: list[Block] = []
        for kind in ("footnotes", "endnotes"):
            notes.extend(_side(container, relations.get(kind), levels, reader.page))
        heads = [block for part in relations.get("header", []) for block in _side(container, [part], levels, 1)]
        feet = [
            block for part in relations.get("footer", []) for block in _side(container, [part], levels, reader.page)
        ]
        blocks = (*_unique(heads), *body, *notes, *_unique(feet))
        metadata = _properties(_optional(container, _core_part(container)))
    if not blocks:
        raise EmptyDocument("The Word document holds no text.")
    title = metadata.pop("title", None) or next((b.text for b in body if b.heading_level == 1), None)
    return Extracted(format=Format.DOCX, pages=reader.page, blocks=blocks, title=title, metadata=metadata)


def _local(element: _Element) -> str:
    tag = element.tag
    return tag[tag.rfind("}") + 1 :] if isinstance(tag, str) else ""


def _attribute(element: _Element, name: str) -> str | None:
    for key, value in element.attrib.items():
        if key == name or key.endswith("}" + name):
            return str(value)
    return None


def _events(data: bytes) -> Iterator[tuple[str, _Element]]:
    """Parse without entities, DTDs or network; what comes after damage is lost, what came before is kept."""
    try:
        yield from etree.iterparse(
            io.BytesIO(data),
            events=("start", "end"),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
    except etree.XMLSyntaxError as broken:
        raise Corrupt(f"The Word document is damaged: {broken.msg}.") from broken


def _required(container: Container, name: str) -> bytes:
    try:
        return container.read(name)
    except KeyError as missing:
        raise Corrupt(f"The Word document lacks its part {name}.") from missing


def _optional(container: Container, names: list[str] | None) -> bytes | None:
    for name in names or []:
        try:
            return container.read(name)
        except KeyError:
            continue
    return None


def _main_part(container: Container) -> str:
    root = _relations_of(container, "_rels/.rels", "")
    for part in root.get("officeDocument", []):
        if part in container.names:
            return part
    if "word/document.xml" in container.names:
        return "word/document.xml"
    raise UnsupportedFormat("The archive holds no Word document.")


def _core_part(container: Container) -> list[str]:
    return _relations_of(container, "_rels/.rels", "").get("core-properties", [])


def _relations(container: Container, part: str) -> dict[str, list[str]]:
    folder, name = posixpath.split(part)
    return _relations_of(container, f"{folder}/_rels/{name}.rels", folder)


def _relations_of(container: Container, name: str, folder: str) -> dict[str, list[str]]:
    """Targets inside the archive by kind of relation (the last word of its type)."""
    found: dict[str, list[str]] = {}
    data = _optional(container, [name])
    if data is None:
        return found
    for event, element in _events(data):
        if event != "end" or _local(element) != "Relationship":
            continue
        if (element.get("TargetMode") or "") == "External":
            continue
        kind = (element.get("Type") or "").rsplit("/", 1)[-1]
        target = element.get("Target") or ""
        path = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
        found.setdefault(kind, []).append(path)
    return found


def _style_levels(data: bytes | None) -> dict[str, int]:
    """Heading level by style id: by outline level, by name ("heading 2", "Title"), or inherited."""
    if data is None:
        return {}
    levels: dict[str, int] = {}
    parents: dict[str, str] = {}
    for event, element in _events(data):
        if event != "end" or _local(element) != "style":
            continue
        identity = _attribute(element, "styleId") or ""
        own = {_local(child): _attribute(child, "val") or "" for child in element.iter()}
        level = _level_of_outline(own.get("outlineLvl", "")) or _level_of_name(own.get("name", ""))
        if level:
            levels[identity] = level
        parents[identity] = own.get("basedOn", "")
        element.clear()
    return levels | {identity: level for identity in parents if (level := _inherited(identity, levels, parents))}


def _inherited(identity: str, levels: dict[str, int], parents: dict[str, str]) -> int | None:
    for _ in range(_DEEPEST_STYLES):
        if identity in levels or not identity:
            break
        identity = parents.get(identity, "")
    return levels.get(identity)


def _level_of_outline(value: str) -> int | None:
    """Word counts outline levels from 0; 9 means body text."""
    return min(int(value) + 1, _DEEPEST) if value.isdigit() and int(value) < 9 else None


def _level_of_name(name: str) -> int | None:
    lowered = name.lower()
    if lowered == "title":
        return 1
    number = lowered.removeprefix("heading ")
    return min(int(number), _DEEPEST) if number != lowered and number.isdigit() and int(number) > 0 else None


def _side(container: Container, parts: list[str] | None, levels: dict[str, int], page: int) -> list[Block]:
    data = _optional(container, parts)
    if data is None:
        return []
    return [Block(block.text, page, block.kind) for block in _Reader(levels).read(data)]


def _unique(blocks: list[Block]) -> list[Block]:
    """First, even and default headers usually repeat each other."""
    return list({block.text: block for block in reversed(blocks)}.values())[::-1]


def _properties(data: bytes | None) -> dict[str, str]:
    if data is None:
        return {}
    found: dict[str, str] = {}
    names = {"creator": "author", "title": "title", "subject": "subject", "language": "language"}
    names |= {"created": "created", "modified": "modified", "keywords": "keywords"}
    for event, element in _events(data):
        name = names.get(_local(element))
        if event == "end" and name and (element.text or "").strip():
            found[name] = str(element.text).strip()
    return found


class _Reader:
    """One pass over a part; paragraphs and tables nest through text boxes and cells."""

    def __init__(self, levels: dict[str, int]) -> None:
        self.page = 1
        self._levels = levels
        self._blocks: list[Block] = []
        self._paragraphs: list[_Paragraph] = []
        self._tables: list[_Table] = []
        self._skipping = 0
        self._just_broke = False

    def read(self, data: bytes) -> list[Block]:
        for event, element in _events(data):
            name = _local(element)
            if name in _SKIPPED:
                self._skipping += 1 if event == "start" else -1
            elif self._skipping:
                continue
            elif event == "start":
                self._start(name)
            else:
                self._end(name, element)
        return self._blocks

    def _start(self, name: str) -> None:
        if name == "p":
            self._paragraphs.append(_Paragraph())
        elif name == "tbl":
            self._tables.append(_Table())
        elif name == "tc" and self._tables:
            self._tables[-1].cell = []

    def _end(self, name: str, element: _Element) -> None:
        if name == "p":
            self._close_paragraph()
            element.clear()
        elif name in {"tc", "tr", "tbl"} and self._tables:
            self._close_table_part(name)
            element.clear()
        elif self._paragraphs:
            self._inside(name, element, self._paragraphs[-1])

    def _inside(self, name: str, element: _Element, paragraph: _Paragraph) -> None:
        if name == "t":
            paragraph.parts.append(element.text or "")
            self._just_broke = False
        elif name == "tab":
            if _local(element.getparent()) == "r":
                paragraph.parts.append("\t")
        elif name == "noBreakHyphen":
            paragraph.parts.append("-")
        elif name in {"br", "cr"}:
            self._break(element, paragraph)
        elif name == "lastRenderedPageBreak":
            # Word notes an explicit break a second time, where the next page's text begins.
            if not self._just_broke:
                self._turn_page(paragraph)
            self._just_broke = False
        else:
            self._note_style(name, element, paragraph)

    @staticmethod
    def _note_style(name: str, element: _Element, paragraph: _Paragraph) -> None:
        if name == "pStyle":
            paragraph.style = _attribute(element, "val")
        elif name == "outlineLvl":
            paragraph.level = _level_of_outline(_attribute(element, "val") or "")

    def _break(self, element: _Element, paragraph: _Paragraph) -> None:
        if _attribute(element, "type") == "page":
            self._turn_page(paragraph)
            self._just_broke = True
        else:
            paragraph.parts.append("\n")

    def _turn_page(self, paragraph: _Paragraph) -> None:
        text = "".join(paragraph.parts)
        if text.strip() and not self._tables:
            self._blocks.append(Block(text, self.page, Kind.PART))
            paragraph.parts.clear()
        self.page += 1

    def _close_paragraph(self) -> None:
        if not self._paragraphs:
            return
        paragraph = self._paragraphs.pop()
        text = "".join(paragraph.parts)
        if not text.strip():
            return
        if self._tables:
            cell = self._tables[-1].cell
            if cell is not None:
                cell.append(" ".join(text.split()))
            return
        level = paragraph.level or self._levels.get(paragraph.style or "")
        if level:
            text = " ".join(text.split())
        self._blocks.append(Block(text, self.page, heading_level=level))

    def _close_table_part(self, name: str) -> None:
        table = self._tables[-1]
        if name == "tc":
            table.cells.append(" ".join(table.cell or []))
            table.cell = None
        elif name == "tr":
            row = " | ".join(table.cells)
            table.cells = []
            if not row.strip(" |"):
                return
            outer = self._tables[-2].cell if len(self._tables) > 1 else None
            if outer is not None:
                outer.append(row)
            else:
                self._blocks.append(Block(row, self.page, Kind.ROW))
        else:
            self._tables.pop()
