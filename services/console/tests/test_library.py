"""Documents: uploads, jobs, pages, with a memory in memory's place."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from archive_blobs import open_blobs
from archive_bus import Delivery
from archive_console.adapters.store import ConversationStore
from archive_contracts.agents import Source
from archive_contracts.base import Problem
from archive_contracts.conversations import RecordAnswer, RecordQuestion
from archive_contracts.documents import (
    DocumentInfo,
    IngestDocument,
)
from archive_contracts.jobs import JobFinished, JobProgressed, JobQueued
from archive_contracts.memory import DocumentsFound, ListDocuments
from archive_contracts.streams import DOCUMENT_COMMANDS, JOBS_JOURNAL, MEMORY_QUERIES
from archive_testkit.documents import FACTS, pdf
from archive_testkit.waiting import eventually

FACT = FACTS[0]
MODE = re.compile(r'name="mode" value="(\w+)" checked')
BOX = re.compile(r'name="document" value="(\w+)"( checked)?> <span>([^<]+)</span>')


@pytest.fixture
async def ingested(peer: Any) -> AsyncIterator[list[IngestDocument]]:
    """What a librarian would have been given."""
    found: list[IngestDocument] = []

    async def take(delivery: Delivery[IngestDocument]) -> None:
        found.append(delivery.message)

    async with peer("librarian", DOCUMENT_COMMANDS, {IngestDocument: take}):
        yield found


def info(name: str = "a.pdf", **more: Any) -> DocumentInfo:
    given = {"id": "d", "filename": name, "status": "ready", "format": "pdf", "pages": 12, "chunks": 3}
    return DocumentInfo.model_validate(given | {"created_at": time.time()} | more)


async def test_files_become_jobs(console: Any, ingested: list[IngestDocument], tmp_path: Any) -> None:
    files = [("file", ("../../etc/x.txt", b"one")), ("file", ("b.md", b"# two"))]
    reply = await console.post("/documents", files=files)
    assert (reply.status_code, reply.headers["location"]) == (303, "/documents")

    async def both() -> bool:
        return len(ingested) == 2

    await eventually(both)
    assert [(found.filename, found.size) for found in ingested] == [("x.txt", 3), ("b.md", 5)]
    assert len({found.job_id for found in ingested}) == 2


async def test_upload_has_a_limit(start: Any, ingested: list[IngestDocument]) -> None:
    async with start(max_upload_mb=0.1) as console:
        files = [("file", ("big.bin", b"x" * 400_000))]
        reply = await console.post("/documents", files=files)
    assert reply.status_code == 413
    assert "CONSOLE_MAX_UPLOAD_MB" in reply.text
    assert ingested == []


@pytest.mark.parametrize("files", [[("file", ("", b""))], [("file", ("a.txt", b""))], [("other", ("a.txt", b"x"))]])
async def test_nothing_is_not_uploaded(console: Any, ingested: list[IngestDocument], files: Any) -> None:
    assert (await console.post("/documents", files=files)).status_code == 400
    assert ingested == []


async def test_empty_file_holds_no_other_up(console: Any, ingested: list[IngestDocument]) -> None:
    files = [("file", ("full.txt", b"x")), ("file", ("hollow.txt", b"")), ("file", ("more.txt", b"y"))]
    reply = await console.post("/documents", files=files)
    assert reply.status_code == 400
    assert "hollow.txt" in reply.text
    assert "The other 2 of 3 were added." in reply.text
    await eventually(lambda: sorted(found.filename for found in ingested) == ["full.txt", "more.txt"])


async def test_file_cancelled_on_its_way_is_no_failure(console: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def tell(event: str, **_: Any) -> None:
        told.append(event)

    monkeypatch.setattr("archive_console.routes.entry.log", SimpleNamespace(info=tell, warning=tell, error=tell))
    host, _, port = console.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    form = b"content-type: multipart/form-data; boundary=x\r\ncontent-length: 100000\r\n\r\n--x\r\n"
    writer.write(b"POST /documents HTTP/1.1\r\nhost: localhost\r\n" + form)
    await writer.drain()
    writer.close()
    await eventually(lambda: told)
    assert told == ["left while sending"]


async def test_documents_are_asked_once_there_are_any(console: Any, memory: Any) -> None:
    assert MODE.findall(await console.shelf("/")) == ["chat"]
    memory.documents = [info(f"file-{number}.pdf", id=f"d{number}") for number in range(9)]
    shelf = (await console.http.get("/documents/shelf")).text
    assert MODE.findall(shelf) == ["documents"]
    assert "data-chosen" not in shelf
    assert 'id="find-document"' in shelf
    chosen = (await console.http.get("/documents/shelf?mode=chat")).text
    assert MODE.findall(chosen) == ["chat"]
    assert "data-chosen" in chosen
    assert MODE.findall((await console.http.get("/?mode=magic")).text) == ["documents"]


async def test_many_picked_documents_stay_picked(console: Any, memory: Any) -> None:
    memory.documents = [info(f"file-{number}.pdf", id=f"d{number}") for number in range(120)]
    query = "&".join(f"document=d{number}" for number in range(120))
    for path in ("/", "/documents/shelf"):
        found = BOX.findall((await console.http.get(f"{path}?{query}")).text)
        assert [box[0] for box in found if box[1]] == [f"d{number}" for number in range(120)]


async def test_failing_look_is_told_once(console: Any, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def tell(event: str, **_: Any) -> None:
        told.append(event)

    monkeypatch.setattr("archive_console.routes.documents.LOOK_S", 0.01)
    monkeypatch.setattr("archive_console.routes.events.log", SimpleNamespace(exception=tell))
    # No calendar has that year: a failure that nobody foresaw.
    memory.documents = [info(created_at=1e18)]
    async with console.http.stream("GET", "/documents/events") as reply:
        # Held: a reader that is let go of closes the stream.
        lines = reply.aiter_lines()
        async for line in lines:
            if "The page failed." in line:
                break
        looks = memory.looks
        await eventually(lambda: memory.looks > looks + 3)
    assert told == ["a look failed"]


async def test_sample_is_offered_and_added(console: Any, memory: Any, ingested: list[Any]) -> None:
    assert "Add the sample" in await console.page("/documents")
    assert "Try a sample" in await console.shelf("/")
    await console.post("/documents/sample")

    async def added() -> bool:
        return [found.filename for found in ingested] == ["welcome-to-archive-ai.md"]

    await eventually(added)


async def test_picked_document_stays_picked(console: Any, memory: Any) -> None:
    memory.documents = [info(f"file-{number:05}.pdf", id=f"d{number}") for number in range(1000)]
    unnamed = BOX.findall(await console.page("/?document=gone&document=d777"))[:2]
    assert [box[:2] for box in unnamed] == [("gone", " checked"), ("d777", " checked")]
    page = await console.page("/documents/shelf?document=gone&document=d777")
    assert [box[1:] for box in BOX.findall(page)[:3]] == [
        (" checked", "A document that is there no longer"),
        (" checked", "file-00777.pdf"),
        ("", "file-00000.pdf"),
    ]
    assert "only 2 documents" in await console.page("/?document=gone&document=d777")
    found = await console.page("/documents/choices?find=file-0042&document=d777")
    assert [box[2] for box in BOX.findall(found)][:2] == ["file-00777.pdf", "file-00420.pdf"]


async def test_first_page_waits_for_nobody(console: Any, peer: Any) -> None:
    async def looked(delivery: Delivery[ListDocuments]) -> None:
        await delivery.reply(DocumentsFound(documents=(info("kept.pdf"),), total=1))

    page = (await console.http.get("/")).text
    assert "Looking for your documents" in page
    assert "Try a sample" not in page
    async with peer("memory", MEMORY_QUERIES, {ListDocuments: looked}):
        assert "1 document is ready" in await console.shelf("/")
    # Memory is gone again: what was seen is still shown.
    for _ in range(2):
        assert BOX.findall((await console.http.get("/")).text) == [("d", "", "kept.pdf")]


async def test_silent_catalogue_does_not_hold_the_page(console: Any) -> None:
    page = await console.http.get("/documents")
    assert page.status_code == 200
    assert "Reading" in page.text
    assert 'data-stream="/documents/events' in page.text


async def test_hostile_names_do_nothing(console: Any, memory: Any) -> None:
    name = '"><img src=x onerror=alert(1)><script>alert(1)</script>.pdf'
    problem = Problem(code="c", message="<script>alert(2)</script>", next_step="<b>")
    memory.documents = [info(name, title="<script>alert(3)</script>", error=problem)]
    for path in ("/documents", "/documents/d", "/", "/documents?q=%22%3E%3Cscript%3E"):
        page = (await console.http.get(path)).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    headers = (await console.http.get("/documents/d/file")).headers
    assert "\n" not in headers.get("content-disposition", "")


@pytest.mark.parametrize("path", ["/documents", "/", "/chat/any", "/system/jobs", "/system/dead"])
async def test_list_comes_alone_where_asked_for(console: Any, memory: Any, path: str) -> None:
    memory.documents = [info()]
    part = await console.http.get(f"{path}?q=a", headers={"hx-request": "true", "hx-target": "list"})
    assert part.text.strip().startswith('<div id="list"')
    assert "<html" not in part.text
    assert {"HX-Request", "HX-Target"} <= {name.strip() for name in part.headers["vary"].split(",")}
    whole = await console.http.get(path.replace("/chat/any", "/"), headers={"hx-request": "true"})
    assert "<html" in whole.text
    assert 'id="list"' in whole.text


async def test_list_of_many_is_paged(console: Any, memory: Any) -> None:
    memory.documents = [info(f"file-{number:05}.pdf", id=f"d{number}") for number in range(10_000)]
    first = await console.page("/documents")
    assert first.count("<tr id=") == 50
    assert "file-00049.pdf" in first
    assert "page=1" in first
    last = await console.page("/documents?page=199")
    assert "file-09999.pdf" in last
    assert "page=200" not in last
    found = await console.page("/documents?q=file-07777")
    assert found.count("<tr id=") == 1
    assert "file-07777.pdf" in found


async def test_progress_is_shown_and_cancelled(console: Any, memory: Any, bus_as: Any) -> None:
    memory.documents = [info(status="queued", job_id="j")]
    async with bus_as("librarian") as bus:
        for event in (
            JobQueued(job_id="j", kind="ingest", document_id="d", filename="a.pdf"),
            JobProgressed(job_id="j", phase="extracting", pages_done=3, pages_total=12, eta_s=9),
        ):
            await bus.append(event, to=JOBS_JOURNAL, entity="j")
        page = await console.page("/documents")
        assert "extracting · 3 of 12 pages · about 9 s left" in page
        assert (await console.post("/documents/d/cancel")).status_code == 303
        ending = (await bus.journal(JOBS_JOURNAL, "j"))[-1].message
        assert (type(ending), ending.status) == (JobFinished, "cancelled")
        assert await bus.cancelled("j")
        await console.post("/documents/d/cancel")
        assert len(await bus.journal(JOBS_JOURNAL, "j")) == 3


async def test_source_opens_at_its_page(console: Any, memory: Any, tmp_path: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield pdf()

    ref = await open_blobs(f"file://{tmp_path}/blobs").put(pieces())
    memory.documents = [info(blob=str(ref), size=ref.size)]
    mark = FACT.sentence.replace(" ", "+")
    page = await console.page(f"/documents/d?page={FACT.page}&mark={mark}")
    assert f"/documents/d/pages/{FACT.page}.png?width=1600" in page
    assert 'class="marker"' in page
    assert f"<mark>{FACT.sentence}</mark>" in page
    picture = await console.http.get(f"/documents/d/pages/{FACT.page}.png?width=960")
    assert picture.content.startswith(b"\x89PNG")
    assert (await console.http.get("/documents/d/pages/13.png")).status_code == 404
    assert (await console.page("/documents/d?page=99")).count('value="12"') == 1
    content = await console.http.get("/documents/d/file")
    assert content.headers["content-type"] == "application/octet-stream"
    assert content.content == pdf()


async def test_text_of_a_page_is_of_no_other(console: Any, memory: Any, tmp_path: Any) -> None:
    ref = await open_blobs(f"file://{tmp_path}/blobs").put(pdf())
    memory.documents = [info(blob=str(ref), size=ref.size)]
    memory.text, memory.marks = "It ends here.\nIt begins there.", ((0, 2), (14, 3))
    shown = {page: await console.page(f"/documents/d?page={page}") for page in (2, 3)}
    assert [("ends here" in page, "begins there" in page) for page in shown.values()] == [(True, False), (False, True)]


async def test_quote_stands_on_its_page_alone(start: Any, memory: Any, tmp_path: Any) -> None:
    ref = await open_blobs(f"file://{tmp_path}/blobs").put(pdf())
    memory.documents = [info(blob=str(ref), size=ref.size)]
    source = Source(
        number=1, type="library", text="t", sentence=FACT.sentence, page=FACT.page, document_id="d", chunk_id="c"
    )
    asked = RecordQuestion(conversation_id="c", turn_id="t", mode="documents", text="Hi", asked_at=1.0)
    said = RecordAnswer(conversation_id="c", turn_id="t", status="done", ended_at=2.0, sources=(source,))
    async with ConversationStore(tmp_path / "console") as store:
        for change in (asked, said):
            await store.apply("default", change)
    async with start() as console:
        cited, beside = [
            (await console.http.get(f"/documents/d/source/c?turn=t&page={page}")).text
            for page in (FACT.page, FACT.page + 1)
        ]
    quote = f"<mark>{FACT.sentence}</mark>"
    assert quote in cited
    assert quote not in beside
    assert "Back to the answer" in cited
    assert "Back to the answer" in beside


async def test_text_is_marked_in_place(console: Any, memory: Any) -> None:
    memory.documents = [info("a.md", format="md", pages=0)]
    memory.text = "One <b>. Two three four. Five."
    page = await console.page("/documents/d?mark=two+three+four.")
    assert 'One &lt;b&gt;. <mark id="marked">Two three four.</mark> Five.' in page


async def test_long_text_opens_where_it_is_cited(console: Any, memory: Any) -> None:
    memory.documents, memory.passages = [info("a.md", format="md", pages=0)], 1234
    cited = await console.page("/documents/d/source/c1107")
    assert "Part 12 of 13" in cited
    assert "End.1107\n" in cited
    assert "End.1099\n" not in cited
    assert 'href="?part=10&amp;turn="' in cited
    assert 'href="?part=12&amp;turn="' in cited
    first, last = [await console.page(f"/documents/d/source/{path}") for path in ("gone", "c1107?part=12")]
    assert "Part 1 of 13" in first
    assert "Part 13 of 13" in last
    assert "End.1233" in last


async def test_deleted_document_says_so(console: Any, memory: Any) -> None:
    for path in ("/documents/d", "/documents/d/pages/1.png", "/documents/d/file", "/documents/d/source/c?page=2"):
        gone = await console.http.get(path)
        assert gone.status_code == 404
        assert "It may have been deleted." in gone.text
        assert "/v1/" not in gone.text


async def test_names_are_shown_as_they_are_called(console: Any, memory: Any, ingested: list[IngestDocument]) -> None:
    await console.post("/documents", files=[("file", ('the "last" one.txt', b"words"))])

    async def named() -> bool:
        return [found.filename for found in ingested] == ['the "last" one.txt']

    await eventually(named)
    cancelled = Problem(code="cancelled", message="The job was cancelled.")
    memory.documents = [info("heron-\u202egpj.exe", status="failed", error=cancelled)]
    page = await console.page("/documents")
    assert ("heron-gpj.exe" in page, ">Cancelled<" in page, ">Refused<" in page) == (True, True, False)


async def test_text_without_pages_counts_none(console: Any, memory: Any) -> None:
    memory.documents = [info("notes.md", format="markdown", pages=1, chunks=7)]
    assert '<td class="num minor">–</td><td class="num minor">7</td>' in await console.page("/documents")
    assert "1 page" not in await console.page("/documents/d")
    memory.documents = [info("notes.pdf", pages=1, chunks=7)]
    assert '<td class="num minor">1</td><td class="num minor">7</td>' in await console.page("/documents")


async def test_document_is_deleted_and_read_again(
    console: Any, memory: Any, ingested: list[IngestDocument], tmp_path: Any
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"words"

    ref = await open_blobs(f"file://{tmp_path}/blobs").put(pieces())
    memory.documents = [info(blob=str(ref))]
    await console.post("/documents/d/reprocess")

    async def queued() -> bool:
        return [found.blob for found in ingested] == [str(ref)]

    await eventually(queued)
    assert "Delete a.pdf?" in (await console.post("/documents/d/delete")).text
    assert memory.deleted == []
    await console.post("/documents/d/delete", sure="yes")
    assert memory.deleted == ["d"]
    assert (await console.http.get("/documents/nothing")).status_code == 404


async def test_list_is_live(console: Any, memory: Any) -> None:
    async with console.http.stream("GET", "/documents/events") as reply:
        lines = reply.aiter_lines()
        async for line in lines:
            if "No documents yet" in line:
                break
        memory.documents = [info("came-later.pdf")]
        async for line in lines:
            if "came-later.pdf" in line:
                break
    assert reply.headers["content-type"].startswith("text/event-stream")
