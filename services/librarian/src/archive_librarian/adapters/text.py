"""Plain text files: decoding, paragraphs, form feeds as pages."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from archive_librarian.domain.document import Block, Extracted, Format, Kind
from archive_librarian.domain.errors import EmptyDocument, Encoding
from archive_librarian.domain.sniff import utf16_of

_UNDEFINED_IN_CP1252 = re.compile("[\x81\x8d\x8f\x90\x9d]")
_TOO_MANY_REPLACED = 0.1


@dataclass(frozen=True, slots=True)
class Decoded:
    """`replaced` counts the characters that had to be replaced by U+FFFD."""

    text: str
    encoding: str
    replaced: int


def decode(data: bytes) -> Decoded:
    """Decode by byte order mark, then UTF-16 without a mark, then UTF-8, then cp1252.

    Raises Encoding when more than a tenth of the characters would be replaced.
    """
    wide = utf16_of(data[:65_536])
    if wide:
        text = data.decode(wide, "replace")
        return _checked(Decoded(text.lstrip("\ufeff"), wide, text.count("\ufffd")))
    body = data.removeprefix(codecs.BOM_UTF8)
    try:
        return Decoded(body.decode("utf-8"), "utf-8", 0)
    except UnicodeDecodeError:
        pass
    loose = body.decode("utf-8", "replace")
    replaced = loose.count("\ufffd")
    if data.startswith(codecs.BOM_UTF8) or replaced * 20 < sum(byte > 0x7F for byte in body):
        return _checked(Decoded(loose, "utf-8", replaced))  # UTF-8 with a few broken bytes
    text = _UNDEFINED_IN_CP1252.sub("\ufffd", body.decode("cp1252", "replace"))
    return _checked(Decoded(text, "cp1252", text.count("\ufffd")))


def _checked(decoded: Decoded) -> Decoded:
    if decoded.replaced > _TOO_MANY_REPLACED * max(len(decoded.text), 1):
        raise Encoding(f"The text is in no known encoding: {decoded.replaced} characters cannot be read.")
    return decoded


def note_decoding(decoded: Decoded) -> dict[str, str]:
    """The metadata entries that tell how a text was decoded."""
    found = {"encoding": decoded.encoding}
    if decoded.replaced:
        found["replaced_characters"] = str(decoded.replaced)
    return found


def read_text(data: bytes) -> Extracted:
    """Lines of a text file; a blank line ends a paragraph, a form feed a page."""
    decoded = decode(data)
    blocks: list[Block] = []
    page = 1
    for sheet in decoded.text.replace("\r\n", "\n").replace("\r", "\n").split("\f"):
        blocks.extend(_paragraphs(sheet, page))
        page += 1
    if not blocks:
        raise EmptyDocument("The text file holds only white space.")
    return Extracted(format=Format.TEXT, pages=blocks[-1].page, blocks=tuple(blocks), metadata=note_decoding(decoded))


def _paragraphs(sheet: str, page: int) -> list[Block]:
    blocks: list[Block] = []
    for paragraph in re.split(r"\n[ \t]*\n", sheet):
        lines = [line for line in paragraph.split("\n") if line.strip()]
        if not lines:
            continue
        if len(lines) > 1 and sum(len(line) for line in lines) / len(lines) >= 40:
            # Hard-wrapped prose: the lines of one paragraph, its last one closed by the blank line.
            blocks.extend(Block(line, page, Kind.LINE) for line in lines[:-1])
            blocks.append(Block(lines[-1], page, Kind.LINE))
        else:
            blocks.extend(Block(line, page, Kind.PARAGRAPH) for line in lines)
    return blocks
