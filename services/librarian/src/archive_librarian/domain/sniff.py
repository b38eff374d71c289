"""What a file is, by its bytes.

The name is believed in one point only: text whose name ends in .md is Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from archive_librarian.domain.document import Format
from archive_librarian.domain.errors import Corrupt, EmptyDocument, Encrypted, UnsupportedFormat

SAMPLE_BYTES = 65_536
"""How much of the file's beginning `classify` wants to see."""

_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_MARKDOWN_NAMES = (".md", ".markdown", ".mdown", ".mkd")

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"{\\rtf", "RTF"),
    (b"\x89PNG", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"II*\x00", "TIFF image"),
    (b"MM\x00*", "TIFF image"),
    (b"\x1f\x8b", "gzip archive"),
    (b"7z\xbc\xaf", "7z archive"),
    (b"Rar!", "RAR archive"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ", "xz archive"),
    (b"\x28\xb5\x2f\xfd", "zstd archive"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
    (b"SQLite format 3\x00", "SQLite database"),
    (b"ID3", "MP3 audio"),
    (b"OggS", "Ogg media"),
    (b"fLaC", "FLAC audio"),
    (b"RIFF", "RIFF media"),
    (b"%!PS", "PostScript"),
)
_ZIP_KINDS: tuple[tuple[str, str], ...] = (
    ("ppt/", "PPTX presentation"),
    ("xl/", "XLSX workbook"),
    ("META-INF/container.xml", "EPUB book"),
    ("content.xml", "OpenDocument file"),
)
_HTML_HEAD = re.compile(
    r"(?:<\?xml[^>]*>|<!--.*?-->|\s)*<(?:!doctype\s+html|html|head|body|title|meta|article|main)\b",
    re.IGNORECASE | re.DOTALL,
)
_HTML_TAG = re.compile(r"</(?:p|div|h[1-6]|ul|ol|li|table|span|a|b|em|strong|section|article)\s*>", re.IGNORECASE)
# Writers put junk before it, as readers allow; text that speaks of a PDF has it in the middle of a line.
_PDF = re.compile(rb"(?:^|[^\x20-\x7e])%PDF-\d")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def is_zip(sample: bytes) -> bool:
    """Whether `classify` wants the member names of a ZIP archive."""
    return sample.startswith((_ZIP, _EMPTY_ZIP))


def classify(sample: bytes, *, filename: str, members: Sequence[str] = ()) -> Format:
    """Tell the format from the first `SAMPLE_BYTES` and, for a ZIP archive, its member names.

    Raises EmptyDocument, Encrypted (a password-protected Office file), Corrupt (a ZIP without directory)
    and UnsupportedFormat, which names what was found.
    """
    if not sample.strip(b"\x00 \t\r\n\x0c") or sample in _BOMS:
        raise EmptyDocument("The file is empty.")
    if _PDF.search(sample[:1024]):
        return Format.PDF
    if is_zip(sample):
        return _classify_zip(members)
    if sample.startswith(_OLE):
        _refuse_ole(sample)
    for magic, kind in _MAGIC:
        if sample.startswith(magic):
            raise UnsupportedFormat(f"The file is a {kind}, which is not read.")
    if sample[4:8] == b"ftyp":
        raise UnsupportedFormat("The file is a MP4 or HEIF medium, which is not read.")
    return _classify_text(sample, filename)


def _classify_zip(members: Sequence[str]) -> Format:
    if not members:
        raise Corrupt("The file begins like a ZIP archive (DOCX), but its directory is missing or empty.")
    if any(name.lower().startswith("word/") and name.lower().endswith(".xml") for name in members):
        return Format.DOCX
    for start, kind in _ZIP_KINDS:
        if any(name.startswith(start) for name in members):
            raise UnsupportedFormat(f"The file is a {kind}, which is not read.")
    raise UnsupportedFormat("The file is a ZIP archive without a Word document in it.")


def _refuse_ole(sample: bytes) -> NoReturn:
    if _ENCRYPTED_PACKAGE in sample:
        raise Encrypted("The Office document is protected by a password.")
    raise UnsupportedFormat("The file is an Office document of the old binary kind (.doc, .xls, .ppt).")


def _classify_text(sample: bytes, filename: str) -> Format:
    text = _as_text(sample)
    if text is None:
        raise UnsupportedFormat("The file is binary data of an unknown kind.")
    head = text[:8192].lstrip("\ufeff")
    if _HTML_HEAD.match(head) or (head.lstrip().startswith("<") and len(_HTML_TAG.findall(head)) >= 3):
        return Format.HTML
    if filename.lower().endswith(_MARKDOWN_NAMES):
        return Format.MARKDOWN
    return Format.TEXT


def _as_text(sample: bytes) -> str | None:
    """A rough reading of the sample, or None when it is not text."""
    wide = utf16_of(sample)
    if wide:
        return sample.decode(wide, "replace")
    if len(_CONTROL.findall(sample)) > len(sample) // 200:
        return None
    return sample.decode("utf-8", "replace") if _mostly_utf8(sample) else sample.decode("cp1252", "replace")


def _mostly_utf8(sample: bytes) -> bool:
    return sample.decode("utf-8", "replace").count("\ufffd") <= 1


def utf16_of(sample: bytes) -> str | None:
    """The name of the UTF-16 variant of a text, by its byte order mark or by where its zero bytes lie."""
    if sample.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "utf-32"
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    even, odd = sample[0:4096:2], sample[1:4096:2]
    half = max(len(odd), 1)
    zero_even, zero_odd = even.count(0), odd.count(0)
    if zero_odd > 0.4 * half and zero_even < 0.02 * half:
        return "utf-16-le"
    if zero_even > 0.4 * half and zero_odd < 0.02 * half:
        return "utf-16-be"
    return None
