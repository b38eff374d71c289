"""HTML: trafilatura's main text, or the whole body when that would lose too much."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# trafilatura and lxml.html give untyped trees.

from __future__ import annotations

import re
from typing import Any

from archive_librarian.adapters.text import Decoded, decode, note_decoding
from archive_librarian.domain.document import Block, Extracted, Format, Kind
from archive_librarian.domain.errors import Corrupt, EmptyDocument

_META_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"<\?xml[^>]+encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
_XML_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_LEAST_SHARE = 0.25
_NEARLY_ALL = 0.95
_SKIPPED = frozenset({"script", "style", "noscript", "template", "svg", "head", "iframe", "object", "select"})
_BREAKING = frozenset(
    """
    address article aside blockquote body br caption center dd details dialog div dl dt fieldset figcaption figure
    footer form h1 h2 h3 h4 h5 h6 header hr html legend li main nav ol p pre section summary table tbody tfoot thead
    tr ul
    """.split()
)


def read_html(data: bytes) -> Extracted:
    """Raises EmptyDocument when the page has no text, Corrupt when it cannot be parsed at all."""
    from lxml import etree, html

    decoded = _decode(data)
    source = _XML_DECLARATION.sub("", decoded.text, count=1)
    parser = html.HTMLParser(no_network=True, remove_comments=True, remove_pis=True)
    try:
        tree = html.document_fromstring(source, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as broken:
        if not source.strip():
            raise EmptyDocument("The page is empty.") from broken
        raise Corrupt(f"The page cannot be parsed: {broken}.") from broken
    whole = _body_blocks(tree)
    title = " ".join((tree.findtext(".//title") or "").split()) or None
    main = _main_blocks(source)
    # Less: the main text was not found. More: there is nothing around it, and the page's own structure is better.
    share = _size(main) / max(_size(whole), 1)
    blocks = main if _LEAST_SHARE <= share <= _NEARLY_ALL else whole
    if not blocks:
        raise EmptyDocument("The page holds no text; it may be built by scripts in the browser.")
    return Extracted(
        format=Format.HTML,
        pages=1,
        blocks=tuple(blocks),
        title=title or next((block.text for block in blocks if block.heading_level == 1), None),
        metadata=note_decoding(decoded) | _described(tree),
    )


def _decode(data: bytes) -> Decoded:
    named = _META_CHARSET.search(data[:4096]) or _XML_CHARSET.search(data[:200])
    if named and not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        encoding = named.group(1).decode("ascii").lower()
        encoding = "cp1252" if encoding in {"iso-8859-1", "latin-1", "latin1", "us-ascii"} else encoding
        try:
            return Decoded(data.decode(encoding), encoding, 0)
        except (LookupError, UnicodeDecodeError):
            pass
    return decode(data)


def _described(tree: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    language = tree.get("lang")
    if language:
        found["language"] = str(language)
    for name in ("author", "description", "date"):
        for content in tree.xpath(f"//meta[@name='{name}']/@content")[:1]:
            found[name] = str(content).strip()
    return found


def _size(blocks: list[Block]) -> int:
    return sum(len(block.text) for block in blocks)


def _main_blocks(source: str) -> list[Block]:
    import trafilatura

    found = trafilatura.bare_extraction(
        source, favor_recall=True, include_comments=False, include_tables=True, with_metadata=False
    )
    body = getattr(found, "body", None)
    blocks: list[Block] = []
    if body is not None:
        _walk_main(body, blocks)
    return blocks


def _walk_main(node: Any, blocks: list[Block]) -> None:
    """trafilatura's tree: head (rend h1 to h6), p, list/item, table/row/cell, code, quote."""
    for child in node:
        tag = child.tag
        if tag == "head":
            rank = str(child.get("rend") or "h2")
            _add(blocks, _flat(child), level=int(rank[1]) if rank[1:2].isdigit() else 2)
        elif tag == "row":
            cells = [_flat(cell) for cell in child]
            _add(blocks, " | ".join(cells) if any(cells) else "", kind=Kind.ROW)
        elif tag == "code":
            for line in "".join(child.itertext()).split("\n"):
                _add(blocks, line.rstrip(), kind=Kind.CODE)
        elif tag in {"list", "table", "quote", "div", "body", "main"} and len(child):
            _add(blocks, " ".join((child.text or "").split()))
            _walk_main(child, blocks)
        else:
            _add(blocks, _flat(child))
        _add(blocks, " ".join((child.tail or "").split()))


def _flat(node: Any) -> str:
    return " ".join("".join(node.itertext()).split())


def _add(blocks: list[Block], text: str, *, kind: Kind = Kind.PARAGRAPH, level: int | None = None) -> None:
    if text.strip():
        blocks.append(Block(text, kind=kind, heading_level=level))


def _body_blocks(tree: Any) -> list[Block]:
    """Everything a reader of the page would see, in order, without scripts and styles."""
    walker = _BodyWalker()
    body = tree.find(".//body")
    walker.walk(body if body is not None else tree)
    return walker.finish()


class _BodyWalker:
    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._parts: list[str] = []

    def walk(self, root: Any) -> None:
        """An explicit stack: hostile pages nest deeper than Python recurses."""
        stack: list[tuple[Any, bool]] = [(root, False)]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                self._leave(node)
                self._parts.append(node.tail or "" if node is not root else "")
                continue
            if not isinstance(node.tag, str) or node.tag in _SKIPPED:
                self._parts.append(node.tail or "")
                continue
            self._enter(node)
            stack.append((node, True))
            if node.tag != "pre":
                self._parts.append(node.text or "")
                stack.extend((child, False) for child in reversed(node))

    def finish(self) -> list[Block]:
        self._flush()
        return self._blocks

    def _enter(self, node: Any) -> None:
        if node.tag in _BREAKING:
            self._flush()
        if node.tag == "pre":
            for line in "".join(node.itertext()).split("\n"):
                _add(self._blocks, line.rstrip(), kind=Kind.CODE)

    def _leave(self, node: Any) -> None:
        if node.tag in {"td", "th"}:
            following = node.getnext()
            self._parts.append(" | " if following is not None else "")
        elif node.tag == "tr":
            self._flush(kind=Kind.ROW)
        elif node.tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self._flush(level=int(node.tag[1]))
        elif node.tag in _BREAKING:
            self._flush()

    def _flush(self, *, kind: Kind = Kind.PARAGRAPH, level: int | None = None) -> None:
        text = " ".join("".join(self._parts).split())
        self._parts.clear()
        if text.strip(" |"):
            _add(self._blocks, text, kind=kind, level=level)
