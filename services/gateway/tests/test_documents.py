"""Uploads and the catalogue."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from archive_blobs import BlobRef, open_blobs
from archive_bus import Delivery, Reject
from archive_contracts.base import Problem
from archive_contracts.documents import DeleteDocument, DocumentDeleted, DocumentInfo, IngestDocument, document_id
from archive_contracts.memory import DocumentsFound, GetDocument, ListDocuments
from archive_contracts.streams import DOCUMENT_COMMANDS, JOBS_JOURNAL, MEMORY_COMMANDS, MEMORY_QUERIES
from archive_testkit.waiting import eventually

ROW = DocumentInfo(id="d1", filename="a.txt", status="ready", chunks=3)


@pytest.fixture
async def librarian(peer: Any) -> AsyncIterator[list[IngestDocument]]:
    got: list[IngestDocument] = []

    async def ingest(delivery: Delivery[IngestDocument]) -> None:
        got.append(delivery.message)

    async with peer("librarian", DOCUMENT_COMMANDS, {IngestDocument: ingest}):
        yield got


async def test_upload_becomes_job_and_command(gateway: Any, librarian: Any, bus_as: Any, tmp_path: Path) -> None:
    content = b"knowledge " * 100_000
    form = {"replace": "old-1"}
    reply = await gateway.http.post("/v1/documents", files={"file": ("../a b.txt", content)}, data=form)
    assert reply.status_code == 202
    accepted = reply.json()
    await eventually(lambda: librarian)
    [command] = librarian
    assert (command.job_id, command.document_id) == (accepted["job_id"], accepted["document_id"])
    assert (command.filename, command.size, command.replace) == ("a b.txt", len(content), "old-1")
    assert command.document_id == document_id("default", hashlib.sha256(content).hexdigest())
    assert await open_blobs(f"file://{tmp_path}/blobs").read(BlobRef.parse(command.blob)) == content
    job = (await gateway.http.get(f"/v1/jobs/{command.job_id}")).json()
    assert (job["status"], job["document_id"]) == ("queued", command.document_id)


async def test_several_files_are_a_list(gateway: Any, librarian: Any) -> None:
    files = [("file", ("a.txt", b"a")), ("file", ("b.txt", b"b"))]
    reply = await gateway.http.post("/v1/documents/", files=files)
    assert [item["filename"] for item in reply.json()] == ["a.txt", "b.txt"]
    await eventually(lambda: len(librarian) == 2)


async def test_same_content_is_same_document(gateway: Any) -> None:
    one, two = [
        (await gateway.http.post("/v1/documents", files={"file": (name, b"same")})).json() for name in ("a", "b")
    ]
    assert one["document_id"] == two["document_id"]
    assert one["job_id"] != two["job_id"]


async def test_file_over_limit_is_refused(start: Any) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="big"\r\n\r\n'
        for _ in range(40):
            yield b"y" * 60_000

    multipart = {"content-type": "multipart/form-data; boundary=x"}
    async with start(max_upload_mb=1) as gateway:
        announced = await gateway.http.post("/v1/documents", files={"file": ("big", b"x" * 2**21)})
        chunked = await gateway.http.post("/v1/documents", content=body(), headers=multipart)
    for reply in (announced, chunked):
        assert reply.status_code == 413
        assert "limit of 1 MB" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"--x\r\n", "multipart/form-data; boundary=x", 400, "invalid_request"),
        (b"no form", "multipart/form-data; boundary=x", 400, "invalid_request"),
        (
            b'--x\r\ncontent-disposition: form-data; name="f"\r\n\r\nv\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
            400,
            "invalid_request",
        ),
        (b"{}", "application/json", 415, "unsupported_media_type"),
        (b"{}", "multipart/form-data", 415, "unsupported_media_type"),
    ],
)
async def test_malformed_form_is_refused(gateway: Any, content: bytes, kind: str, status: int, code: str) -> None:
    reply = await gateway.http.post("/v1/documents", content=content, headers={"content-type": kind})
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


async def test_empty_file_is_refused(gateway: Any, librarian: Any) -> None:
    reply = await gateway.http.post("/v1/documents", files={"file": ("e.txt", b"")})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "empty_file")
    await asyncio.sleep(0)
    assert librarian == []


async def test_catalogue_is_listed_and_looked_up(gateway: Any, peer: Any) -> None:
    async def listed(delivery: Delivery[ListDocuments]) -> None:
        assert (delivery.message.limit, delivery.message.offset) == (2, 4)
        await delivery.reply(DocumentsFound(documents=(ROW,), total=9))

    async def looked_up(delivery: Delivery[GetDocument]) -> None:
        found = (ROW,) if delivery.message.document_id == "d1" else ()
        await delivery.reply(DocumentsFound(documents=found))

    async with peer("memory", MEMORY_QUERIES, {ListDocuments: listed, GetDocument: looked_up}):
        page = (await gateway.http.get("/v1/documents?limit=2&offset=4")).json()
        one = (await gateway.http.get("/v1/documents/d1")).json()
        none = await gateway.http.get("/v1/documents/d2")
    assert (page["total"], page["documents"][0]["id"], one["chunks"]) == (9, "d1", 3)
    assert (none.status_code, none.json()["error"]["code"]) == (404, "document_not_found")


async def test_document_is_deleted(gateway: Any, peer: Any) -> None:
    async def delete(delivery: Delivery[DeleteDocument]) -> None:
        if delivery.message.document_id != "d1":
            raise Reject(Problem(code="document_not_found", message="No such document.", status=404))
        await delivery.reply(DocumentDeleted(document_id="d1"))

    async with peer("memory", MEMORY_COMMANDS, {DeleteDocument: delete}):
        gone = await gateway.http.delete("/v1/documents/d1")
        unknown = await gateway.http.delete("/v1/documents/d2")
    assert gone.json() == {"id": "d1", "deleted": True}
    assert unknown.status_code == 404


async def test_journal_begins_before_command(gateway: Any, peer: Any, bus_as: Any) -> None:
    lengths: list[int] = []

    async with bus_as("librarian") as bus:

        async def ingest(delivery: Delivery[IngestDocument]) -> None:
            lengths.append(len(await bus.journal(JOBS_JOURNAL, delivery.message.job_id)))

        bus.subscribe(DOCUMENT_COMMANDS, {IngestDocument: ingest})
        await gateway.http.post("/v1/documents", files={"file": ("a", b"a")})
        async with asyncio.timeout(5):
            while not lengths:
                await asyncio.sleep(0.01)
    assert lengths == [1]
