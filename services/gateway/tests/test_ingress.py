"""Foreign publishers write plain entries to the ingress stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from archive_blobs import BlobRef, open_blobs
from archive_bus import Delivery
from archive_contracts.documents import FetchDocument, IngestDocument, document_id
from archive_contracts.streams import DOCUMENT_COMMANDS, INGRESS, dead_letters
from archive_testkit.waiting import eventually

KEY = INGRESS.physical()


@pytest.fixture
async def foreign(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)  # pyright: ignore[reportUnknownMemberType] - redis-py leaves **kwargs untyped
    yield client
    await client.aclose()


@pytest.fixture
async def librarian(peer: Any) -> AsyncIterator[list[Delivery[Any]]]:
    got: list[Delivery[Any]] = []

    async def take(delivery: Delivery[Any]) -> None:
        got.append(delivery)

    async with peer("librarian", DOCUMENT_COMMANDS, {IngestDocument: take, FetchDocument: take}):
        yield got


def entry(**data: str) -> dict[Any, Any]:
    return {"type": "document.ingest.v1", "data": json.dumps(data)}


async def test_text_from_outside_is_ingested(gateway: Any, foreign: Redis, librarian: Any, tmp_path: Path) -> None:
    await foreign.xadd(KEY, entry(text="Some words.", filename="../n.txt") | {"tenant": "somebody-else"})
    await eventually(lambda: librarian)
    command = librarian[0].message
    assert (command.filename, command.origin, command.size) == ("n.txt", "ingress", 11)
    assert librarian[0].envelope.tenant == "default"
    blob = BlobRef.parse(command.blob)
    assert command.document_id == document_id("default", blob.sha256)
    assert await open_blobs(f"file://{tmp_path}/blobs").read(blob) == b"Some words."
    job = (await gateway.http.get(f"/v1/jobs/{command.job_id}")).json()
    assert (job["status"], job["document_id"]) == ("queued", command.document_id)


async def test_stored_blob_is_ingested(gateway: Any, foreign: Redis, librarian: Any, tmp_path: Path) -> None:
    ref = await open_blobs(f"file://{tmp_path}/blobs").put(b"stored before")
    await foreign.xadd(KEY, entry(blob=str(ref), filename="b.txt"))
    await eventually(lambda: librarian)
    assert librarian[0].message.blob == str(ref)


async def test_address_is_left_to_the_librarian(gateway: Any, foreign: Redis, librarian: Any) -> None:
    await foreign.xadd(KEY, entry(url="https://example.com/a.pdf"))
    await eventually(lambda: librarian)
    command = librarian[0].message
    assert (command.url, command.origin) == ("https://example.com/a.pdf", "ingress")
    job = (await gateway.http.get(f"/v1/jobs/{command.job_id}")).json()
    assert (job["status"], job["filename"]) == ("queued", "https://example.com/a.pdf")


async def test_redelivery_makes_no_second_command(gateway: Any, foreign: Redis, librarian: Any) -> None:
    for _ in range(2):
        await foreign.xadd(KEY, entry(text="Twice.") | {"id": "same-id"})
    await foreign.xadd(KEY, entry(text="Last."))
    await eventually(lambda: len(librarian) >= 2)
    assert len({seen.message.job_id for seen in librarian}) == len(librarian) == 2


@pytest.mark.parametrize(
    "data",
    [
        {"url": "file:///etc/passwd"},
        {"text": " "},
        {"filename": "n.txt"},
        {"text": "a", "blob": "b"},
        {"blob": "nonsense"},
        {"blob": f"blob:sha256:{'0' * 64}:3"},
    ],
)
async def test_unusable_entry_is_kept_with_reason(gateway: Any, foreign: Redis, data: dict[str, str]) -> None:
    await foreign.xadd(KEY, entry(**data))
    rows: Any = []
    while not rows:
        rows = await foreign.xrange(dead_letters(KEY, "gateway"))
        await asyncio.sleep(0.01)
    assert any(name.startswith(b"cause.") for name in rows[0][1])
