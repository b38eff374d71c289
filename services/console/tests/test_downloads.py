"""Documents from the web on their way in, and files on their way out."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from archive_blobs import BlobRef, open_blobs
from archive_bus import Delivery, Origin
from archive_console.adapters.downloads import DownloadNotes
from archive_console.domain.ports import Download
from archive_contracts.base import Problem
from archive_contracts.documents import DocumentInfo, FetchDocument
from archive_contracts.jobs import JobFinished, JobProgressed, JobQueued
from archive_contracts.streams import DOCUMENT_COMMANDS, JOBS_JOURNAL
from archive_testkit.documents import pdf
from archive_testkit.waiting import eventually

URL = "https://example.org/<b>.pdf"


def info(ref: BlobRef | None = None, name: str = "a.pdf") -> DocumentInfo:
    blob, size = (str(ref), ref.size) if ref else ("", 0)
    return DocumentInfo(
        id="d", filename=name, status="ready", format="pdf", pages=12, chunks=3, created_at=1.0, blob=blob, size=size
    )


@pytest.fixture
async def fetched(peer: Any) -> AsyncIterator[list[FetchDocument]]:
    """What a librarian would have been given to fetch."""
    found: list[FetchDocument] = []

    async def take(delivery: Delivery[FetchDocument]) -> None:
        found.append(delivery.message)

    async with peer("librarian", DOCUMENT_COMMANDS, {FetchDocument: take}):
        yield found


async def test_address_becomes_a_job(console: Any, memory: Any, fetched: list[FetchDocument], bus_as: Any) -> None:
    reply = await console.post("/documents/address", url=URL)
    await eventually(lambda: fetched)
    assert (fetched[0].url, reply.headers["location"]) == (URL, "/documents")
    page = await console.page("/documents")
    assert "https://example.org/&lt;b&gt;.pdf" in page
    assert "<b>.pdf" not in page
    assert "Cancel" in page
    assert "&lt;b&gt;" not in await console.page("/documents?q=elsewhere")
    # Once the catalogue has it, the list shows the document itself.
    async with bus_as("librarian") as bus:
        read = JobProgressed(job_id=fetched[0].job_id, phase="extracting")
        await bus.append(read, to=JOBS_JOURNAL, entity=fetched[0].job_id)
    assert "&lt;b&gt;" not in await console.page("/documents")


async def failed_download(console: Any, fetched: list[FetchDocument], bus_as: Any) -> str:
    """Return the job of a download that failed."""
    before = len(fetched)
    await console.post("/documents/address", url=URL)
    await eventually(lambda: len(fetched) > before)
    job, problem = fetched[-1].job_id, Problem(code="c", message="It is <private>.", next_step="Upload it.")
    async with bus_as("librarian") as bus:
        failed = JobFinished(job_id=job, status="failed", error=problem)
        await bus.append(failed, to=JOBS_JOURNAL, entity=job)
    return job


async def test_failed_download_stays_with_its_cause(
    console: Any, memory: Any, fetched: list[FetchDocument], bus_as: Any
) -> None:
    job = await failed_download(console, fetched, bus_as)
    memory.documents = [info()]
    for _ in range(2):
        page = await console.page("/documents")
        assert "It is &lt;private&gt;. Upload it." in page
        assert "Not fetched" in page
    await console.post("/documents/address", url=URL, instead=job)
    page = await console.page("/documents")
    assert page.count('id="arriving-') == 1
    assert "Not fetched" not in page


async def test_failed_download_is_dismissed(
    console: Any, memory: Any, fetched: list[FetchDocument], bus_as: Any
) -> None:
    job = await failed_download(console, fetched, bus_as)
    for odd in ("..", "x" * 32):
        await console.post(f"/documents/jobs/{odd}/dismiss")
    assert "Not fetched" in await console.page("/documents")
    await console.post(f"/documents/jobs/{job}/dismiss")
    assert "No documents yet" in await console.page("/documents")
    assert URL.encode() not in b"".join(path.read_bytes() for path in console.folder.rglob("*") if path.is_file())


async def test_download_is_cancelled_by_its_owner_only(console: Any, memory: Any, bus_as: Any) -> None:
    async with bus_as("gateway") as bus:
        for job, tenant in (("mine", "default"), ("theirs", "acme")):
            queued = JobQueued(job_id=job, kind="ingest", filename="https://h/x", tenant=tenant)
            await bus.append(queued, to=JOBS_JOURNAL, entity=job, origin=Origin(tenant=tenant))
        assert (await console.post("/documents/jobs/theirs/cancel")).status_code == 404
        assert (await console.post("/documents/jobs/mine/cancel")).status_code == 303
        ends = [len(await bus.journal(JOBS_JOURNAL, job)) for job in ("mine", "theirs")]
    assert ends == [2, 1]


async def test_downloads_of_tenants_are_apart(tmp_path: Any) -> None:
    notes = DownloadNotes(tmp_path)
    await notes.add("acme", Download("a" * 32, "https://h/1"))
    await notes.add("../acme", Download("b" * 32, "https://h/2"))
    assert await notes.listed("acme") == [Download("a" * 32, "https://h/1")]
    await notes.drop("globex", "a" * 32)
    assert (len(await notes.listed("acme")), await notes.listed("globex")) == (1, [])
    assert {path.parent.parent for path in tmp_path.rglob("*") if path.is_file()} == {tmp_path / "downloads"}


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "example.org", "javascript:alert(1)"])
async def test_other_addresses_are_refused(console: Any, url: str) -> None:
    assert (await console.post("/documents/address", url=url)).status_code == 400


async def test_broken_download_is_resumed(console: Any, memory: Any, tmp_path: Any) -> None:
    content = random.Random(1).randbytes(3_000_000)
    ref = await open_blobs(f"file://{tmp_path}/blobs").put(content)
    memory.documents = [info(ref, "Grüße.bin")]
    whole = await console.http.get("/documents/d/file")
    tag, name = whole.headers["etag"], whole.headers["content-disposition"]
    assert whole.content == content
    assert "filename*=UTF-8''Gr%C3%BC%C3%9Fe.bin" in name
    for asked, first, end in (("2900000-", 2_900_000, 3_000_000), ("1048570-1048580", 1_048_570, 1_048_581)):
        rest = await console.http.get("/documents/d/file", headers={"range": f"bytes={asked}", "if-range": tag})
        assert (rest.status_code, rest.content) == (206, content[first:end])
        assert rest.headers["content-range"] == f"bytes {first}-{end - 1}/3000000"
    behind = await console.http.get("/documents/d/file", headers={"range": "bytes=3000000-"})
    assert (behind.status_code, behind.headers["content-range"]) == (416, "bytes */3000000")
    same = await console.http.get("/documents/d/file", headers={"if-none-match": tag})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    head = await console.http.head("/documents/d/file")
    assert (head.status_code, head.headers["content-length"]) == (200, "3000000")


async def test_known_picture_is_not_drawn_again(console: Any, memory: Any, tmp_path: Any) -> None:
    ref = await open_blobs(f"file://{tmp_path}/blobs").put(pdf())
    memory.documents = [info(ref)]
    drawn = (await console.http.get("/documents/d/pages/1.png")).headers
    tag = drawn["etag"]
    assert drawn["vary"] == "Cookie"
    same = await console.http.get("/documents/d/pages/1.png", headers={"if-none-match": tag})
    assert (same.status_code, same.content) == (304, b"")
    other = await console.http.get("/documents/d/pages/2.png", headers={"if-none-match": tag})
    assert other.status_code == 200
