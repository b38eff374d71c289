"""Pages of real PDF files as pictures."""

import tempfile
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from archive_blobs import Blobs, open_blobs
from archive_console.adapters.pages import PdfPages
from archive_console.domain.errors import NotThere
from archive_testkit.documents import FACTS, pdf


@contextmanager
def opened(blobs: Blobs) -> Generator[PdfPages, None, None]:
    pages = PdfPages(blobs)
    try:
        yield pages
    finally:
        pages.close()


async def stored(blobs: Blobs, content: bytes) -> str:
    async def pieces() -> AsyncIterator[bytes]:
        yield content

    return str(await blobs.put(pieces()))


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return open_blobs(f"file://{tmp_path}/blobs")


async def test_page_becomes_a_picture(blobs: Blobs) -> None:
    blob = await stored(blobs, pdf())
    with opened(blobs) as pages:
        drawn = await pages.picture(blob, 2, width=480)
        again = await pages.picture(blob, 2, width=480)
    image = Image.open(BytesIO(drawn.png))
    assert (drawn.width, drawn.height) == image.size
    assert image.width in {480, 481}
    shades = image.convert("L").histogram()
    assert sum(shades[:100]) > 100
    assert shades[255] > 100
    assert again is drawn


async def test_sentence_is_located(blobs: Blobs) -> None:
    blob = await stored(blobs, pdf())
    fact = FACTS[0]
    with opened(blobs) as pages:
        (width, height), boxes = await pages.boxes(blob, fact.page, fact.sentence)
        _, elsewhere = await pages.boxes(blob, fact.page + 1, fact.sentence)
    assert (round(width), round(height)) == (595, 842)
    assert boxes
    assert elsewhere == ()
    for box in boxes:
        assert 0 <= box.x < box.x + box.width <= 1
        assert 0 <= box.y < box.y + box.height <= 1


@pytest.mark.parametrize("page", [0, 13, 10**6])
async def test_missing_page_is_named(blobs: Blobs, page: int) -> None:
    blob = await stored(blobs, pdf())
    with opened(blobs) as pages, pytest.raises(NotThere, match=f"no page {page}"):
        await pages.picture(blob, page, width=480)


async def test_damaged_file_draws_nothing(blobs: Blobs) -> None:
    blob = await stored(blobs, b"%PDF-1.7 and then nothing of it")
    with opened(blobs) as pages, pytest.raises(NotThere):
        await pages.picture(blob, 1, width=480)


async def test_copies_are_few_and_go(blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    contents = [pdf(FACTS[:1], pages=number) for number in range(1, 7)]
    with opened(blobs) as pages:
        for content in contents:
            await pages.picture(await stored(blobs, content), 1, width=480)
        assert len(files(tmp_path)) == 4
    assert files(tmp_path) == []


def files(folder: Path) -> list[Path]:
    return list(folder.glob("archive-console-*/*"))
