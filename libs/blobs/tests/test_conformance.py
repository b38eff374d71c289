"""What every store promises."""

import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from archive_blobs import BlobMissing, BlobRef, Blobs, BlobTooLarge

MIB = 1 << 20


def ref_of(content: bytes) -> BlobRef:
    return BlobRef(hashlib.sha256(content).hexdigest(), len(content))


async def stream(content: bytes, chunk: int = 70_001) -> AsyncGenerator[bytes]:
    for start in range(0, len(content), chunk):
        yield content[start : start + chunk]


async def broken_stream() -> AsyncGenerator[bytes]:
    yield b"first part"
    raise ConnectionResetError("the client went away")


class TestBlobs:
    @pytest.mark.parametrize("content", [b"", b"x", b"page" * 100_000], ids=["empty", "one byte", "400 kB"])
    async def test_bytes_come_back(self, blobs: Blobs, content: bytes) -> None:
        ref = await blobs.put(content)
        assert ref == ref_of(content)
        assert await blobs.read(ref) == content

    async def test_big_stream_comes_back(self, blobs: Blobs, tmp_path: Path) -> None:
        content = bytes(range(256)) * (18 * MIB // 256) + b"tail"
        ref = await blobs.put(stream(content))
        assert ref == ref_of(content)
        chunks = [chunk async for chunk in await blobs.open(ref)]
        assert b"".join(chunks) == content
        assert len(chunks) > 1

    async def test_empty_stream_is_stored(self, blobs: Blobs) -> None:
        assert await blobs.read(await blobs.put(stream(b""))) == b""

    async def test_all_references_are_listed(self, blobs: Blobs) -> None:
        before = {ref async for ref in blobs.refs()}
        stored = {await blobs.put(content) for content in (b"", b"listed", b"page" * 1000)}
        assert {ref async for ref in blobs.refs()} == before | stored

    async def test_same_content_same_reference(self, blobs: Blobs) -> None:
        first = await blobs.put(b"twice")
        assert await blobs.put(stream(b"twice", 2)) == first
        await blobs.delete(first)
        assert not await blobs.exists(first)

    @pytest.mark.parametrize("streamed", [False, True])
    async def test_limit_refuses_larger(self, blobs: Blobs, streamed: bool) -> None:
        content = b"12345678901"
        with pytest.raises(BlobTooLarge, match="10 bytes") as refused:
            await blobs.put(stream(content, 4) if streamed else content, limit=10)
        assert refused.value.limit == 10
        assert not await blobs.exists(ref_of(content))

    async def test_limit_allows_equal(self, blobs: Blobs) -> None:
        ref = await blobs.put(stream(b"1234567890", 4), limit=10)
        assert await blobs.read(ref, limit=10) == b"1234567890"
        with pytest.raises(BlobTooLarge):
            await blobs.read(ref, limit=9)

    async def test_failing_stream_leaves_nothing(self, blobs: Blobs) -> None:
        with pytest.raises(ConnectionResetError):
            await blobs.put(broken_stream())
        assert not await blobs.exists(ref_of(b"first part"))

    async def test_missing_blob_is_named(self, blobs: Blobs, tmp_path: Path) -> None:
        missing = ref_of(b"never stored")
        for call in (blobs.open(missing), blobs.read(missing), blobs.fetch(missing, tmp_path / "out")):
            with pytest.raises(BlobMissing, match=missing.sha256):
                await call
        assert not await blobs.exists(missing)
        assert not (tmp_path / "out").exists()

    async def test_wrong_size_is_another_blob(self, blobs: Blobs) -> None:
        ref = await blobs.put(b"content")
        assert not await blobs.exists(BlobRef(ref.sha256, ref.size + 1))

    async def test_fetch_gives_private_copy(self, blobs: Blobs, tmp_path: Path) -> None:
        ref = await blobs.put(b"original")
        target = tmp_path / "copy.txt"
        target.write_bytes(b"older")
        await blobs.fetch(ref, target)
        assert target.read_bytes() == b"original"
        target.write_bytes(b"scribbled")
        assert await blobs.read(ref) == b"original"

    async def test_deleted_twice_is_fine(self, blobs: Blobs) -> None:
        ref = await blobs.put(b"short-lived")
        await blobs.delete(ref)
        await blobs.delete(ref)
        with pytest.raises(BlobMissing):
            await blobs.read(ref)

    async def test_check_accepts_working_store(self, blobs: Blobs) -> None:
        ref = await blobs.put(b"content")
        await blobs.check()
        assert [found async for found in blobs.refs()] == [ref]
