import contextlib
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import fpdf
import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_librarian.adapters.docx import read_docx
from archive_librarian.adapters.extraction import Reader, Reading, Slice, assemble
from archive_librarian.adapters.html import read_html
from archive_librarian.adapters.markdown import read_markdown
from archive_librarian.adapters.text import decode, read_text
from archive_librarian.domain.document import Block, Extracted, Kind
from archive_librarian.domain.errors import (
    Corrupt,
    EmptyDocument,
    Encoding,
    Encrypted,
    NoText,
    ResourceLimit,
    UnsupportedFormat,
)
from archive_librarian.domain.flow import flow
from archive_librarian.domain.sections import sectioned

READING = Reading(frozenset(), 60.0, lambda page, pages: None)
Draw = Callable[[fpdf.FPDF], None]


def write_pdf(path: Path, draw: Draw, **options: object) -> Path:
    pdf = fpdf.FPDF(**options)  # pyright: ignore[reportArgumentType]
    pdf.set_font("helvetica", size=11)
    draw(pdf)
    pdf.output(str(path))
    return path


def read(path: Path) -> Extracted:
    found = Reader().begin(path, path.name, READING)
    if isinstance(found, Slice):
        return assemble(found.head, found.blocks, found.bad, pictures=found.pictures)
    return found


def text_of(document: Extracted) -> str:
    return flow(sectioned(document)).text


def three_pages(pdf: fpdf.FPDF) -> None:
    pdf.set_title("Harbour Manual")
    for page, fact in enumerate(
        ("The pier is 212 metres long.", "The crane lifts 40 tonnes.", "Gates shut at nine."), 1
    ):
        pdf.add_page()
        pdf.start_section(f"Part {page}")
        pdf.set_font(size=18)
        pdf.cell(text=f"Part {page}", new_x="LMARGIN", new_y="NEXT")
        pdf.set_font(size=11)
        pdf.multi_cell(0, text=f"{fact} " + "Plain filler text of the manual. " * 20)


def test_pdf_facts_on_their_pages(tmp_path: Path) -> None:
    document = read(write_pdf(tmp_path / "a.pdf", three_pages))
    assert (document.title, document.pages) == ("Harbour Manual", 3)
    running = flow(sectioned(document))
    assert running.page_at(running.text.index("40 tonnes")) == 2
    assert running.section_at(running.text.index("Gates shut")) == ("Part 3",)


def test_pdf_heading_in_the_size_of_the_text_stands_by_itself(tmp_path: Path) -> None:
    def draw(pdf: fpdf.FPDF) -> None:
        pdf.add_page()
        for heading in ("Opening hours of the harbour office and of the northern gate", "The crane and its loads"):
            pdf.set_font(style="B")
            pdf.cell(text=heading, new_x="LMARGIN", new_y="NEXT")
            pdf.set_font(style="")
            pdf.multi_cell(0, text="Gates shut at nine and open again at five on every day of the week. " * 3)

    lines = text_of(read(write_pdf(tmp_path / "a.pdf", draw))).split("\n")
    assert [line for line in lines if not line.startswith("Gates shut")] == [
        "Opening hours of the harbour office and of the northern gate",
        "The crane and its loads",
    ]


def test_pdf_bold_words_stay_in_their_sentence(tmp_path: Path) -> None:
    def draw(pdf: fpdf.FPDF) -> None:
        pdf.add_page()
        pdf.multi_cell(0, text="The contract binds the owner of the northern quay, called **the Harbour Company of "
            "Wilhelmina Island and its lawful successors in all of their rights and their duties,** and **Smith.** "
            "It ends in May.", markdown=True)  # fmt: skip

    assert len(text_of(read(write_pdf(tmp_path / "a.pdf", draw))).split("\n")) == 1


def test_pdf_hyphen_at_line_end(tmp_path: Path) -> None:
    def draw(pdf: fpdf.FPDF) -> None:
        pdf.add_page()
        pdf.set_font(size=11)
        pdf.cell(text="The direct-", new_x="LMARGIN", new_y="NEXT")
        pdf.cell(text="ly joined word is whole.", new_x="LMARGIN", new_y="NEXT")

    text = text_of(read(write_pdf(tmp_path / "a.pdf", draw)))
    assert "directly joined" in text.replace("-", "")
    assert "\ufffe" not in text


def test_pdf_table_rows_keep_cells(tmp_path: Path) -> None:
    def draw(pdf: fpdf.FPDF) -> None:
        pdf.add_page()
        pdf.cell(text="Before the table.", new_x="LMARGIN", new_y="NEXT")
        with pdf.table() as table:
            for cells in (("Port", "Depth", "Crane"), ("Oslo", "11 m", "yes"), ("Riga", "9 m", "no")):
                table.row(cells)
        pdf.cell(text="After the table.", new_x="LMARGIN", new_y="NEXT")

    lines = text_of(read(write_pdf(tmp_path / "a.pdf", draw))).split("\n")
    assert lines == [
        "Before the table.",
        "Port | Depth | Crane",
        "Oslo | 11 m | yes",
        "Riga | 9 m | no",
        "After the table.",
    ]


def test_encrypted_pdf_says_so(tmp_path: Path) -> None:
    def draw(pdf: fpdf.FPDF) -> None:
        pdf.set_encryption(owner_password="owner", user_password="user")
        three_pages(pdf)

    with pytest.raises(Encrypted, match="password"):
        read(write_pdf(tmp_path / "a.pdf", draw))


def test_image_only_pdf_wants_ocr(tmp_path: Path) -> None:
    def draw(pdf: fpdf.FPDF) -> None:
        pdf.add_page()
        pdf.rect(20, 20, 100, 100, style="F")

    with pytest.raises(NoText) as refused:
        read(write_pdf(tmp_path / "a.pdf", draw))
    assert "OCR" in refused.value.next_step


def test_blank_pdf_is_empty(tmp_path: Path) -> None:
    with pytest.raises(EmptyDocument, match="no text"):
        read(write_pdf(tmp_path / "a.pdf", lambda pdf: pdf.add_page()))


def test_corrupt_pdf_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.7\n" + b"garbage " * 50)
    with pytest.raises(Corrupt):
        read(path)


def test_zero_page_pdf_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    pypdf.PdfWriter().write(path)
    with pytest.raises(EmptyDocument, match="no pages"):
        read(path)


def test_budget_cuts_pdf_into_slices(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", three_pages)
    found = Reader().begin(path, "a.pdf", Reading(frozenset({1}), 0.0, READING.on_page))
    assert isinstance(found, Slice)
    assert (found.next, found.bad, found.complete) == (1, [1], False)


def write_docx(path: Path) -> Path:
    document = docx.Document()
    document.core_properties.title = "Harbour Rules"
    document.sections[0].header.paragraphs[0].text = "Port authority"
    document.add_heading("Berths", 1)
    document.add_paragraph("Berth four is for ferries.")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ("Name", "Depth", "Quay", "7 m"), strict=True):  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
        cell.text = text
    document.add_page_break()  # pyright: ignore[reportUnknownMemberType]
    document.add_heading("Fees", 2)
    document.add_paragraph("The fee is 31 crowns.")
    document.save(str(path))
    return path


def test_docx_keeps_its_structure(tmp_path: Path) -> None:
    document = read(write_docx(tmp_path / "a.docx"))
    assert (document.title, document.pages) == ("Harbour Rules", 2)
    assert Block("Quay | 7 m", 1, Kind.ROW) in document.blocks
    last = sectioned(document)[-1]
    assert (last.block.text, last.block.page, last.section) == ("The fee is 31 crowns.", 2, ("Berths", "Fees"))
    assert document.blocks[0].text == "Port authority"


def zip_of(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return path


def wordprocessing(body: str, namespace: str = "http://purl.oclc.org/ooxml/wordprocessingml/main") -> str:
    return f'<w:document xmlns:w="{namespace}"><w:body>{body}</w:body></w:document>'


def test_docx_strict_namespace_and_notes(tmp_path: Path) -> None:
    relations = '<Relationships><Relationship Type="x/footnotes" Target="footnotes.xml"/></Relationships>'
    note = wordprocessing("<w:footnote><w:p><w:r><w:t>A note.</w:t></w:r></w:p></w:footnote>")
    box = "<w:txbxContent><w:p><w:r><w:t>In a box.</w:t></w:r></w:p></w:txbxContent>"
    body = f"<w:p><w:r>{box}<w:t>Strict text.</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
    path = zip_of(
        tmp_path / "a.docx",
        **{
            "word__document.xml": wordprocessing(body),
            "word___rels/document.xml.rels": relations,
            "word__footnotes.xml": note,
        },
    )
    assert [block.text for block in read_docx(path).blocks] == ["In a box.", "Strict text.", "A note."]


def test_docx_ignores_external_entities(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("TOPSECRET")
    head = f'<!DOCTYPE d [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'
    path = zip_of(
        tmp_path / "a.docx", **{"word__document.xml": head + wordprocessing("<w:p><w:r><w:t>x&e;</w:t></w:r></w:p>")}
    )
    assert "TOPSECRET" not in "".join(block.text for block in read_docx(path).blocks)


def test_not_a_docx_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat):
        read(zip_of(tmp_path / "a.docx", **{"readme.txt": "no document here"}))


def test_truncated_docx_is_corrupt(tmp_path: Path) -> None:
    path = write_docx(tmp_path / "a.docx")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(Corrupt):
        read(path)


def test_damaged_xml_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="damaged"):
        read(zip_of(tmp_path / "a.docx", **{"word__document.xml": wordprocessing("<w:p>")[:-30]}))


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResourceLimit, match="to 1"):
        read(zip_of(tmp_path / "a.docx", **{"word__document.xml": " " * (8 << 20)}))


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    members = {f"word__{number}.xml": "" for number in range(10_001)}
    with pytest.raises(ResourceLimit, match="members"):
        read(zip_of(tmp_path / "a.docx", **members))


MOON = "It follows the moon around the earth. " * 8
SUN = "The sun works against the moon. " * 8
PAGE = f"""<!doctype html><html lang="en"><head><title>Tides</title><script>var hidden = 1</script></head><body>
<nav><a href="/">Home</a></nav><article><h1>Tides</h1><p>High water comes twice a day. {MOON}</p>
<h2>Neap tides</h2><p>They are weak. {SUN}</p>
<table><tr><th>Port</th><th>Range</th></tr><tr><td>Oslo</td><td>0.3 m</td></tr>
</table></article></body></html>"""


def test_html_headings_become_sections() -> None:
    document = read_html(PAGE.encode())
    running = flow(sectioned(document))
    assert document.title == "Tides"
    assert running.section_at(running.text.index("They are weak")) == ("Tides", "Neap tides")
    assert "hidden" not in running.text
    assert "Oslo | 0.3 m" in running.text


def test_html_falls_back_to_body() -> None:
    document = read_html(b"<html><body><h3>Only</h3><div>a few<br>words</div><pre>x = 1\n  y</pre></body></html>")
    assert [block.text for block in document.blocks] == ["Only", "a few", "words", "x = 1", "  y"]


def test_html_declared_charset_counts() -> None:
    page = '<html><head><meta charset="koi8-r"></head><body><p>Привет, мир</p></body></html>'.encode("koi8-r")
    assert "Привет" in read_html(page).blocks[0].text


def test_html_survives_deep_nesting() -> None:
    page = b"<html><body>" + b"<div>" * 5000 + b"deep" + b"</div>" * 5000
    with contextlib.suppress(Corrupt, EmptyDocument):
        assert "deep" in "".join(block.text for block in read_html(page).blocks)


def test_html_without_text_is_empty() -> None:
    with pytest.raises(EmptyDocument):
        read_html(b"<html><body><script>build()</script></body></html>")


MARKDOWN = """---
title: "Sea Notes"
---
# Sea
Water is
wet.

## Code
```python
# not a heading
x = 1
```
- one
- two
  more

| a | b |
|---|---|
| 1 | 2 |

Under
=====
"""


def test_markdown_structure_is_kept() -> None:
    document = read_markdown(MARKDOWN.encode())
    assert document.title == "Sea Notes"
    assert [(block.text, block.heading_level) for block in document.blocks][1:] == [
        ("Sea", 1),
        ("Water is wet.", None),
        ("Code", 2),
        ("# not a heading", None),
        ("x = 1", None),
        ("- one", None),
        ("- two more", None),
        ("a | b", None),
        ("1 | 2", None),
        ("Under", 1),
    ]


def test_markdown_comments_are_left_out() -> None:
    hidden = "One.\n<!-- hidden -->\nTwo.\n\n<!-- begins\n\nhidden\n--> Three.\n\n"
    text = f"{hidden}```\n<!-- shown -->\n```\nSee `<!-- this -->`.\n"
    blocks = [block.text for block in read_markdown(text.encode()).blocks]
    assert blocks == ["One.", "Two.", "Three.", "<!-- shown -->", "See `<!-- this -->`."]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_text_encodings_are_found(encoding: str) -> None:
    assert decode("Grüße – naïve café".encode(encoding)).text == "Grüße – naïve café"


def test_broken_bytes_are_counted() -> None:
    decoded = decode("gut ü ß ä ö é è ".encode() * 20 + b"\xff")
    assert (decoded.encoding, decoded.replaced) == ("utf-8", 1)


def test_hopeless_encoding_is_refused() -> None:
    with pytest.raises(Encoding):
        decode(b"\xef\xbb\xbf" + b"\xff\xfe\xfd" * 40)


def test_form_feed_turns_the_page() -> None:
    document = read_text(b"First.\fSecond.\n\nThird.")
    assert [(block.text, block.page) for block in document.blocks] == [("First.", 1), ("Second.", 2), ("Third.", 2)]


@given(st.text(st.characters(exclude_characters="\x00"), max_size=300))
def test_any_text_keeps_its_letters(text: str) -> None:
    try:
        blocks = read_text(text.encode("utf-8", "replace")).blocks
    except EmptyDocument:
        blocks = ()
    kept = "".join("".join(block.text.split()) for block in blocks)
    original = decode(text.encode("utf-8", "replace")).text
    assert kept == "".join(original.split()) or not original.strip()


@given(st.binary(max_size=400))
def test_any_bytes_as_docx_part(data: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("word/document.xml", data)
    with tempfile.NamedTemporaryFile(suffix=".docx") as file, contextlib.suppress(Corrupt, EmptyDocument):
        file.write(buffer.getvalue())
        file.flush()
        assert read_docx(Path(file.name)).pages >= 1
