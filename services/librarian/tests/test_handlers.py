"""The librarian on a real bus: files in, chunks, progress and fates out."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from librarian_peers import (
    Gateway,
    Memory,
    drawn_pdf,
    encrypted_pdf,
    fact,
    long_pdf,
    pdf,
    picture_pdf,
    word_file,
    zero_page_pdf,
    zip_file,
)

from archive_blobs import Blobs
from archive_bus import Delivery
from archive_contracts.documents import Chunk, DocumentChunked, DocumentInfo, IngestDocument, chunk_id
from archive_contracts.jobs import Job, JobProgressed, fold
from archive_contracts.streams import DOCUMENT_COMMANDS
from archive_librarian import app as wiring
from archive_librarian.adapters.workers import Extractor
from archive_librarian.domain.batches import CHUNKS_A_BATCH, Read, batches
from archive_librarian.domain.chunker import ChunkOptions
from archive_librarian.handlers import ingesting
from archive_telemetry import App
from archive_testkit.deaths import kill_all_runs
from archive_testkit.peers import BusAs
from archive_testkit.waiting import eventually

TEXT = b"The gates of the harbour shut at nine.\n"


def page_of(chunk: Chunk, text: str) -> int:
    """The page that a chunk's marks say a text is on."""
    at = chunk.text.index(text)
    return [page for offset, page in chunk.marks if offset <= at][-1]


@pytest.mark.usefixtures("librarian")
async def test_pdf_becomes_batches_with_pages(gateway: Gateway, memory: Memory) -> None:
    document = await gateway.upload(pdf(30), "facts.pdf")
    job = await gateway.job()
    parts = memory.by_number
    chunks = [chunk for part in parts for chunk in part.chunks]
    assert (job.status, job.pages, job.progress) == ("done", 30, 1.0)
    assert [part.batch for part in parts] == list(range(parts[0].batches))
    assert len(parts) > 2
    assert {len(part.chunks) for part in parts[:-1]} == {CHUNKS_A_BATCH}
    assert len(chunks) == parts[0].total_chunks
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk.id == chunk_id(document, parts[0].recipe, chunk.index) for chunk in chunks)
    assert all(0 < chunk.tokens <= 64 for chunk in chunks)
    for page in range(1, 31):
        holders = [chunk for chunk in chunks if fact(page) in chunk.text]
        assert holders
        assert {page_of(chunk, fact(page)) for chunk in holders} == {page}
        assert all(chunk.page_start <= page <= chunk.page_end for chunk in holders)


@pytest.mark.usefixtures("librarian")
async def test_every_format_is_read(gateway: Gateway, memory: Memory) -> None:
    files = {
        "a.docx": word_file(),
        "b.md": b"# Harbour\n\nThe crane lifts *forty* tonnes.\n",
        "c.html": b"<html><body><h1>Harbour</h1><p>The crane lifts forty tonnes.</p></body></html>",
        "d.txt": b"The crane lifts forty tonnes.",
        "misnamed.txt": pdf(1),
    }
    for name, content in files.items():
        await gateway.upload(content, name, job=name)
    ends = {name: (await gateway.job(name)).status for name in files}
    found = {part.filename: part for part in memory.batches}
    assert ends == dict.fromkeys(files, "done")
    formats = {name: part.format for name, part in found.items()}
    assert list(map(formats.get, files)) == ["docx", "markdown", "html", "text", "pdf"]
    for name in ("a.docx", "b.md", "c.html", "d.txt"):
        assert "lifts forty tonnes." in found[name].chunks[0].text.replace("*", "")
        assert found[name].pages == 1
    assert found["a.docx"].chunks[0].section == ("Harbour",)


@pytest.mark.usefixtures("librarian")
async def test_same_content_gives_same_chunks(gateway: Gateway, memory: Memory) -> None:
    for job in ("one", "two"):
        await gateway.upload(TEXT * 20, f"{job}.txt", job=job)
        await gateway.job(job)
        memory.known.clear()
    one, two = ([part for part in memory.batches if part.job_id == job] for job in ("one", "two"))
    assert [part.chunks for part in one] == [part.chunks for part in two]


@pytest.mark.usefixtures("librarian")
async def test_known_content_still_supersedes(gateway: Gateway, memory: Memory) -> None:
    for job, superseded in (("one", None), ("two", "an-older-document")):
        await gateway.upload(TEXT, "a.txt", job=job, replace=superseded)
        await gateway.job(job)
    assert [part.replace for part in memory.batches] == [None, "an-older-document"]


@pytest.mark.usefixtures("librarian", "memory")
async def test_progress_never_runs_backwards(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingesting, "TELL_EVERY_S", 0.0)
    await gateway.upload(long_pdf(150), "long.pdf")
    await gateway.job()
    journal = await gateway.journal()
    told = [event for event in journal if isinstance(event, JobProgressed)]
    states = [fold("job-1", journal[:number]) for number in range(1, len(journal) + 1)]
    phases = [event.phase for event in told]
    assert phases == sorted(phases, key=["extracting", "chunking", "embedding"].index)
    assert len(told) > 3
    assert all(before.progress <= after.progress for before, after in pairwise(states))
    cut = [event.share or 0.0 for event in told if event.phase == "chunking"]
    pages = [event.pages_done or 0 for event in told if event.phase == "extracting"]
    assert pages == sorted(pages)
    assert {event.pages_total for event in told if event.pages_done} == {150}
    assert cut == sorted(cut) != []


BAD = {
    "empty.txt": (b"", "empty_document"),
    "blank.txt": (b" \n\t\n", "empty_document"),
    "unseen.txt": ("\u00ad\u00ad".encode(), "empty_document"),
    "encrypted.pdf": (encrypted_pdf(), "encrypted"),
    "corrupt.pdf": (b"%PDF-1.7\n" + b"garbage " * 50, "corrupt"),
    "no-pages.pdf": (zero_page_pdf(), "empty_document"),
    "blank-page.pdf": (drawn_pdf(lambda made: made.add_page()), "empty_document"),
    "picture.pdf": (picture_pdf(), "no_text"),
    "not-one.docx": (zip_file("readme.txt", "no document here"), "unsupported_format"),
    "cut.docx": (word_file()[:-2000], "corrupt"),
    "bomb.docx": (zip_file("word/document.xml", " " * (8 << 20)), "resource_limit"),
    "program.bin": (b"\x7fELF" + bytes(range(256)) * 8, "unsupported_format"),
    "odd.txt": (b"\xef\xbb\xbf" + b"\xff\xfe\xfd" * 40, "encoding"),
}


@pytest.mark.usefixtures("librarian")
async def test_bad_files_end_with_a_reason(gateway: Gateway, memory: Memory) -> None:
    for name, (content, _) in BAD.items():
        await gateway.upload(content, name, job=name)
    jobs = {name: await gateway.job(name) for name in BAD}
    events = await gateway.failed(len(BAD))
    for name, (_, code) in BAD.items():
        problem = jobs[name].error
        assert jobs[name].status == "failed"
        assert problem
        assert (name, problem.code) == (name, code)
        assert problem.message
        assert problem.next_step
        assert events[name].problem == problem
        assert (events[name].filename, events[name].size) == (name, 5)
        assert events[name].blob
    assert memory.batches == []


@pytest.fixture
def single_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt is the last."""
    once = replace(DOCUMENT_COMMANDS, attempts=1)
    monkeypatch.setattr(wiring, "DOCUMENT_COMMANDS", once)
    monkeypatch.setattr(ingesting, "DOCUMENT_COMMANDS", once)


@pytest.mark.usefixtures("single_attempt", "memory")
@pytest.mark.parametrize(
    ("blob", "code"), [(f"blob:sha256:{'a' * 64}:5", "blob_missing"), ("nonsense", "blob_ref_invalid")]
)
async def test_lost_file_ends_the_job(start: Callable[..., App], gateway: Gateway, blob: str, code: str) -> None:
    async with start().lifespan():
        await gateway.command(blob, "lost.txt", job="job-1")
        job = await gateway.job()
        event = (await gateway.failed())["job-1"]
    assert job.status == "failed"
    assert event.problem == job.error
    assert event.problem.code == code


@pytest.mark.usefixtures("single_attempt", "memory")
async def test_unexpected_error_ends_the_job(
    start: Callable[..., App], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(read: object) -> Iterator[DocumentChunked]:
        raise ValueError(read)

    monkeypatch.setattr(ingesting, "batches", broken)
    async with start().lifespan():
        await gateway.upload(TEXT, "a.txt")
        job = await gateway.job()
    assert (job.status, job.error and job.error.code) == ("failed", "internal_error")


@pytest.mark.usefixtures("memory")
async def test_deadly_document_ends_the_job(start: Callable[..., App], gateway: Gateway, redis_url: str) -> None:
    await gateway.upload(TEXT, "a.txt")
    await kill_all_runs(redis_url, DOCUMENT_COMMANDS, "librarian")
    async with start().lifespan():
        job = await gateway.job()
        event = (await gateway.failed())["job-1"]
    assert (job.status, job.error and job.error.code) == ("failed", "internal_error")
    assert event.problem == job.error


def assert_cancelled(job: Job) -> None:
    assert job.status == "cancelled"
    assert job.error == ingesting.CANCELLED


async def test_cancelled_before_it_starts(start: Callable[..., App], gateway: Gateway, memory: Memory) -> None:
    await gateway.upload(TEXT, "a.txt")
    await gateway.bus.cancel("job-1")
    async with start().lifespan():
        assert_cancelled(await gateway.job())
        assert (await gateway.failed())["job-1"].problem.code == "cancelled"
    assert memory.batches == []


@pytest.mark.usefixtures("librarian")
async def test_cancelled_in_the_middle(gateway: Gateway, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingesting, "TELL_EVERY_S", 0.0)
    await gateway.upload(long_pdf(400), "long.pdf")
    await gateway.progressed()
    await gateway.bus.cancel("job-1")
    assert_cancelled(await gateway.job())
    await gateway.upload(TEXT, "next.txt", job="job-2")
    assert (await gateway.job("job-2")).status == "done"
    assert {part.job_id for part in memory.batches} == {"job-2"}


@pytest.mark.usefixtures("librarian")
async def test_known_content_finishes_at_once(gateway: Gateway, memory: Memory) -> None:
    document = await gateway.upload(TEXT, "first.txt", job="first")
    await gateway.job("first")
    memory.known[document] = memory.known[document].model_copy(update={"bad_pages": (2,)})
    again = await gateway.upload(TEXT, "second.txt", job="second")
    job = await gateway.job("second")
    assert again == document
    assert (job.status, job.duplicate, job.bad_pages, job.chunks) == ("partial", True, (2,), 1)
    assert {part.job_id for part in memory.batches} == {"first"}


@pytest.mark.usefixtures("librarian")
async def test_failed_content_is_read_again(gateway: Gateway, memory: Memory) -> None:
    document = await gateway.upload(TEXT, "a.txt", job="first")
    await gateway.job("first")
    memory.known[document] = DocumentInfo(id=document, filename="a.txt", status="failed", job_id="first")
    await gateway.upload(TEXT, "a.txt", job="second")
    job = await gateway.job("second")
    assert (job.status, job.duplicate) == ("done", False)


async def test_redelivery_publishes_nothing_twice(
    bus_as: BusAs, blobs: Blobs, gateway: Gateway, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []

    def cut_short(read: Read) -> Iterator[DocumentChunked]:
        for part in batches(read):
            if attempts == [1] and part.batch == 2:
                raise ConnectionError("the process was killed here")
            yield part

    async def run(delivery: Delivery[IngestDocument]) -> None:
        attempts.append(delivery.attempt)
        await ingestion.ingest(delivery)

    monkeypatch.setattr(ingesting, "batches", cut_short)
    monkeypatch.setattr(ingesting, "TELL_EVERY_S", 0.0)
    async with Extractor(workers=1) as extractor, bus_as("librarian") as bus:
        ingestion = ingesting.Ingestion(extractor, blobs, ChunkOptions(64, 8))
        bus.subscribe(DOCUMENT_COMMANDS, {IngestDocument: run})
        await gateway.upload(pdf(30), "facts.pdf")
        job = await gateway.job()
    assert attempts == [1, 2]
    assert job.status == "done"
    assert [part.batch for part in memory.by_number] == list(range(memory.batches[0].batches))
    assert set(memory.ids.values()) == {1}
    journal = await gateway.journal()
    assert [getattr(event, "phase", "") for event in journal].count("embedding") == 1


async def test_librarian_is_ready_and_alive(librarian: App, gateway: Gateway, memory: Memory) -> None:
    await gateway.upload(TEXT, "a.txt")
    await eventually(lambda: memory.batches)
    assert {name: await check() for name, check in librarian.ready.items()} == {"bus": None, "blobs": None}
    assert librarian.live() is None
