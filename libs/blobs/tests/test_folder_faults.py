"""A folder whose writers die and whose disk lies."""

import asyncio
import os
import stat
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from archive_blobs import BlobCorrupt, BlobMissing, BlobStoreDown, FolderBlobs

WRITER = """
import asyncio, sys
from pathlib import Path
from archive_blobs import FolderBlobs

async def endless():
    while True:
        yield bytes(300_000)
        sys.stdout.write("."), sys.stdout.flush()
        await asyncio.sleep(0)

asyncio.run(FolderBlobs(Path(sys.argv[1])).put(endless()))
"""


def visible(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.parent.name != "parts"]


def test_killed_writer_leaves_nothing_visible(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert len(writer.stdout.read(20)) == 20
        writer.kill()
    assert visible(tmp_path) == []
    assert len(list((tmp_path / "parts").iterdir())) == 1


async def test_abandoned_parts_are_swept(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    await blobs.check()
    old, fresh = tmp_path / "parts" / "old.part", tmp_path / "parts" / "fresh.part"
    old.touch()
    fresh.touch()
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    await blobs.check()
    assert (old.exists(), fresh.exists()) == (False, True)


async def test_flipped_byte_is_detected(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "store")
    content = bytes(3 << 20)
    ref = await blobs.put(content)
    path = visible(tmp_path)[0]
    path.write_bytes(content[:-1] + b"\x01")
    with pytest.raises(BlobCorrupt, match="hashes to"):
        await blobs.read(ref)
    with pytest.raises(BlobCorrupt):
        await blobs.fetch(ref, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert await blobs.read(await blobs.put(content)) == content


async def test_truncated_file_is_detected(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    ref = await blobs.put(b"whole content")
    visible(tmp_path)[0].write_bytes(b"whole")
    assert not await blobs.exists(ref)
    with pytest.raises(BlobCorrupt, match="5 bytes instead of 13"):
        await blobs.open(ref)


async def test_deletion_while_reading_is_missing(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    ref = await blobs.put(bytes(3 << 20))
    chunks = await blobs.open(ref)
    await anext(chunks)
    await blobs.delete(ref)
    with pytest.raises(BlobMissing):
        await anext(chunks)


async def test_cancelled_put_cleans_up(tmp_path: Path) -> None:
    stalled = asyncio.Event()

    async def stalls() -> AsyncGenerator[bytes]:
        yield bytes(2 << 20)
        stalled.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        putting = tasks.create_task(FolderBlobs(tmp_path).put(stalls()))
        await stalled.wait()
        putting.cancel()
    assert list((tmp_path / "parts").iterdir()) == []
    assert visible(tmp_path) == []


async def test_modes_are_private(tmp_path: Path) -> None:
    root = tmp_path / "store"
    await FolderBlobs(root).put(b"private")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*")) if path.is_dir()}
    assert modes == {0o700}
    assert stat.S_IMODE(visible(root)[0].stat().st_mode) == 0o600


async def test_unusable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    blobs = FolderBlobs(tmp_path / "file" / "store")
    with pytest.raises(BlobStoreDown, match="Not a directory") as down:
        await blobs.put(b"x")
    assert down.value.next_step
    with pytest.raises(BlobStoreDown):
        await blobs.check()


async def test_parallel_writers_agree(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    refs = await asyncio.gather(*(blobs.put(b"same" * 1000) for _ in range(20)))
    assert len(set(refs)) == 1
    assert len(visible(tmp_path)) == 1
