import os
import signal
import zlib
from pathlib import Path

import anyio
import psutil
import pytest

from archive_librarian.adapters.processes import WorkerLimits
from archive_librarian.adapters.workers import Extractor
from archive_librarian.domain.chunker import ChunkOptions
from archive_librarian.domain.document import Format
from archive_librarian.domain.errors import Corrupt, ExtractionError, ResourceLimit
from archive_librarian.domain.extraction import Extraction, Phase, Progress

OPTIONS = ChunkOptions(max_tokens=128, overlap_tokens=16)


def assemble_pdf(path: Path, contents: list[bytes]) -> Path:
    """A minimal PDF with one page for each content stream object (dictionary and data)."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(contents)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[" + kids + b"]/Count %d>>" % len(contents),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, content in enumerate(contents):
        resources = b"/Resources<</Font<</F 3 0 R>>>>/MediaBox[0 0 595 842]"
        objects.append(b"<</Type/Page/Parent 2 0 R" + resources + b"/Contents %d 0 R>>" % (5 + 2 * number))
        objects.append(content)
    body = b"%PDF-1.4\n"
    offsets: list[int] = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj" % number + content + b"endobj\n"
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    tail = b"trailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(body))
    path.write_bytes(body + head + table + tail)
    return path


def stream(data: bytes, filters: bytes = b"") -> bytes:
    return b"<<" + filters + b"/Length %d>>stream\n" % len(data) + data + b"\nendstream "


def write_pdf(path: Path, pages: int) -> Path:
    filler = "".join(f"0 -14 Td (Some words fill line {line} of the page.) Tj " for line in range(40))
    texts = (
        f"BT /F 11 Tf 60 780 Td (The number of this page is {page}.) Tj {filler} ET" for page in range(1, pages + 1)
    )
    return assemble_pdf(path, [stream(text.encode()) for text in texts])


def write_bomb(path: Path) -> Path:
    """One page, whose content stream unpacks through three Flate filters to 640 MB."""
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(640)) + packer.flush()
    packed = zlib.compress(zlib.compress(data, 9), 9)
    return assemble_pdf(path, [stream(packed, b"/Filter[/FlateDecode/FlateDecode/FlateDecode]")])


async def extract(extractor: Extractor, path: Path, told: list[Progress] | None = None) -> Extraction:
    told = told if told is not None else []
    return await extractor.extract(path, filename=path.name, options=OPTIONS, on_progress=told.append)


async def test_long_pdf_is_read_whole(tmp_path: Path) -> None:
    path, told = write_pdf(tmp_path / "long.pdf", 450), list[Progress]()
    async with Extractor() as extractor:
        found = await extract(extractor, path, told)
    assert (found.pages, found.bad_pages, found.format) == (450, (), Format.PDF)
    first_on = {
        piece.text.split("this page is ")[1].split(".")[0]: piece
        for piece in found.pieces
        if "this page is" in piece.text
    }
    assert first_on["333"].page_start <= 333 <= first_on["333"].page_end
    assert [piece.index for piece in found.pieces] == list(range(len(found.pieces)))
    assert Progress(Phase.EXTRACTING, 450, 450) in told
    assert told[-1] == Progress(Phase.CHUNKING, told[-1].total, told[-1].total)
    assert all(step.done <= step.total for step in told)


async def test_text_that_has_no_pages_tells_how_much_of_it_is_cut(tmp_path: Path) -> None:
    path, told = tmp_path / "long.txt", list[Progress]()
    path.write_text("\n\n".join(f"Paragraph {number} tells of the harbour and its ships." for number in range(40_000)))
    async with Extractor() as extractor:
        found = await extract(extractor, path, told)
    assert found.pages == 1
    cut = [step.done / step.total for step in told if step.phase is Phase.CHUNKING]
    assert len(cut) > 5
    assert cut == sorted(cut)
    assert (cut[0], cut[-1]) == (0, 1)


async def test_same_file_same_pieces(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", 30)
    async with Extractor(workers=1) as one, Extractor(workers=3) as many:
        assert (await extract(one, path)).pieces == (await extract(many, path)).pieces


async def test_flate_bomb_fails_cleanly(tmp_path: Path) -> None:
    bomb, sound = write_bomb(tmp_path / "bomb.pdf"), write_pdf(tmp_path / "sound.pdf", 1)
    async with Extractor(workers=1, limits=WorkerLimits(memory_bytes=384 << 20)) as extractor:
        with pytest.raises(ExtractionError) as refused:
            await extract(extractor, bomb)
        assert refused.value.next_step
        assert (await extract(extractor, sound)).pages == 1


async def test_errors_keep_the_worker(tmp_path: Path) -> None:
    broken = tmp_path / "a.pdf"
    broken.write_bytes(b"%PDF-1.4 nothing")
    async with Extractor(workers=1) as extractor:
        with pytest.raises(Corrupt):
            await extract(extractor, broken)
        before = extractor.pids
        await extract(extractor, write_pdf(tmp_path / "b.pdf", 1))
        assert extractor.pids == before


async def test_time_limit_ends_a_task(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", 400)
    async with Extractor(limits=WorkerLimits(task_s=0.02)) as extractor:
        with pytest.raises(ResourceLimit, match="longer than"):
            await extract(extractor, path)
        assert extractor.pids == []


async def test_cancel_kills_the_worker(tmp_path: Path) -> None:
    path, started, pids = write_pdf(tmp_path / "a.pdf", 800), anyio.Event(), list[int]()
    async with Extractor(workers=1) as extractor:

        async def run() -> None:
            await extractor.extract(path, filename="a.pdf", options=OPTIONS, on_progress=lambda _: started.set())

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await started.wait()
            pids.extend(extractor.pids)
            group.cancel_scope.cancel()
        assert len(pids) == 1
        assert not psutil.pid_exists(pids[0])
        assert extractor.pids == []


async def test_worker_killed_over_its_chunks_costs_no_page_and_leaves_none(tmp_path: Path) -> None:
    path, killed = write_pdf(tmp_path / "a.pdf", 3), list[int]()
    async with Extractor(workers=1) as extractor:

        def kill_once(step: Progress) -> None:
            if not killed and step.phase is Phase.CHUNKING:
                killed.extend(extractor.pids)
                os.kill(killed[0], signal.SIGKILL)

        try:
            found = await extractor.extract(path, filename="a.pdf", options=OPTIONS, on_progress=kill_once)
        except ExtractionError:  # as its message says, it may be tried again
            found = await extractor.extract(path, filename="a.pdf", options=OPTIONS, on_progress=kill_once)
    assert killed
    assert (found.pages, found.bad_pages) == (3, ())
    assert [piece.index for piece in found.pieces] == list(range(len(found.pieces)))


async def test_killed_worker_costs_one_page(tmp_path: Path) -> None:
    path, killed = write_pdf(tmp_path / "a.pdf", 300), list[int]()
    async with Extractor(workers=1) as extractor:

        def kill_once(step: Progress) -> None:
            if not killed and 0 < step.done < step.total:
                killed.extend(extractor.pids)
                os.kill(killed[0], signal.SIGSEGV)

        found = await extractor.extract(path, filename="a.pdf", options=OPTIONS, on_progress=kill_once)
    assert killed
    assert len(found.bad_pages) <= 1
    assert found.pages == 300


async def test_idle_worker_leaves(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", 1)
    async with Extractor(workers=1, limits=WorkerLimits(idle_s=0.2)) as extractor:
        await extract(extractor, path)
        with anyio.fail_after(20):
            while extractor.pids:
                await anyio.sleep(0.05)
        assert (await extract(extractor, path)).pages == 1


async def test_small_file_overtakes_long_ones(tmp_path: Path) -> None:
    long, small = write_pdf(tmp_path / "long.pdf", 700), write_pdf(tmp_path / "small.pdf", 1)
    finished: list[str] = []
    begun = anyio.Event()
    async with Extractor() as extractor:

        async def run(path: Path) -> None:
            await extractor.extract(path, filename=path.name, options=OPTIONS, on_progress=lambda _: begun.set())
            finished.append(path.name)

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(run, long)
            await begun.wait()
            group.start_soon(run, small)
    assert finished[0] == "small.pdf"


async def test_leaving_ends_all_workers(tmp_path: Path) -> None:
    async with Extractor() as extractor:
        await extract(extractor, write_pdf(tmp_path / "a.pdf", 1))
        pids = extractor.pids
    assert pids
    assert not any(psutil.pid_exists(pid) for pid in pids)
