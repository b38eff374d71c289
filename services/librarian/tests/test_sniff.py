import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_librarian.domain.document import Format
from archive_librarian.domain.errors import (
    Corrupt,
    EmptyDocument,
    Encrypted,
    ExtractionError,
    NoText,
    UnsupportedFormat,
    from_wire,
)
from archive_librarian.domain.sniff import classify


@pytest.mark.parametrize(
    ("sample", "name", "expected"),
    [
        (b"%PDF-1.7\n", "a.txt", Format.PDF),
        (b"junk\n%PDF-1.4", "a", Format.PDF),
        (b"\xef\xbb\xbf%PDF-1.4", "a", Format.PDF),
        (b"A file that begins with %PDF-1.4 is a PDF.", "a.txt", Format.TEXT),
        (b"<!DOCTYPE html><html>", "a.pdf", Format.HTML),
        (b"\xef\xbb\xbf <!-- hi --> <html lang=en>", "a", Format.HTML),
        (b"<p>one</p><p>two</p><div>three</div>", "a.txt", Format.HTML),
        (b"# Title\n\ntext", "notes.MD", Format.MARKDOWN),
        (b"# Title\n\ntext", "notes.txt", Format.TEXT),
        ("Grüße".encode("utf-16"), "a.pdf", Format.TEXT),
        ("plain words".encode("utf-32"), "a", Format.TEXT),
        ("plain words".encode("utf-16-le"), "a", Format.TEXT),
        ("Grüße aus Köln".encode("cp1252"), "a", Format.TEXT),
    ],
)
def test_content_decides_not_name(sample: bytes, name: str, expected: Format) -> None:
    assert classify(sample, filename=name) is expected


@pytest.mark.parametrize(
    ("sample", "error"),
    [
        (b"", EmptyDocument),
        (b" \n\t", EmptyDocument),
        (b"\xef\xbb\xbf", EmptyDocument),
        (b"\x89PNG\r\n\x1a\n....", UnsupportedFormat),
        (b"\x7fELF\x02\x01", UnsupportedFormat),
        (bytes(range(256)) * 8, UnsupportedFormat),
        (b"{\\rtf1 hello}", UnsupportedFormat),
        (b"\x00\x00\x00\x18ftypmp42", UnsupportedFormat),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 99, UnsupportedFormat),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), Encrypted),
        (b"PK\x03\x04truncated", Corrupt),
    ],
)
def test_refusals_are_typed(sample: bytes, error: type[ExtractionError]) -> None:
    with pytest.raises(error) as refused:
        classify(sample, filename="file.docx")
    assert refused.value.next_step


def test_zip_members_tell_apart() -> None:
    zipped = b"PK\x03\x04rest"
    assert classify(zipped, filename="x", members=["word/document.xml"]) is Format.DOCX
    with pytest.raises(UnsupportedFormat, match="PPTX"):
        classify(zipped, filename="x.docx", members=["ppt/presentation.xml"])
    with pytest.raises(UnsupportedFormat, match="without a Word document"):
        classify(zipped, filename="x.docx", members=["a.txt"])


@given(st.binary(max_size=300), st.text(max_size=20))
def test_any_bytes_have_an_answer(sample: bytes, name: str) -> None:
    with contextlib.suppress(ExtractionError):
        assert classify(sample, filename=name) in Format


@pytest.mark.parametrize("kind", ExtractionError.kinds().values())
def test_errors_cross_process_boundaries(kind: type[ExtractionError]) -> None:
    back = from_wire(kind("what happened", "what to do").to_wire())
    assert (type(back), back.message, back.next_step) == (kind, "what happened", "what to do")


def test_scan_counts_as_empty() -> None:
    assert issubclass(NoText, EmptyDocument)
    assert "OCR" in NoText("pictures").next_step
