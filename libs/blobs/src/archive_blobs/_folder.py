"""Blobs in a folder."""

import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from anyio import to_thread

from archive_blobs._errors import BlobCorrupt, BlobMissing
from archive_blobs._ref import BlobRef
from archive_blobs._spool import CHUNK_BYTES, Proof, Spool, copy_out, disk_errors, sync_path, within

_ABANDONED_S = 24 * 3600.0


class FolderBlobs:
    """A folder that one or several processes of a machine, or of a cluster with a shared disk, use at once.

    A blob lies at `ab/cd/<hash>` and gets there by renaming a finished, flushed file, so that neither a killed
    writer nor a power cut leaves half of one. Folders are 0700 and files 0600.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._parts = root / "parts"

    async def put(self, data: bytes | AsyncIterator[bytes], *, limit: int | None = None) -> BlobRef:
        """Store content: written aside, flushed, renamed; see Blobs.put."""
        with disk_errors(self._root):
            await to_thread.run_sync(self._prepare)
        async with Spool(self._parts, limit=limit) as spool:
            ref = await spool.fill(data)
            await spool.sync()
            with disk_errors(self._root):
                await to_thread.run_sync(self._publish, spool.path, self._path(ref))
        return ref

    async def open(self, ref: BlobRef) -> AsyncIterator[bytes]:
        """Return the content in chunks of at most 1 MiB; see Blobs.open."""
        size = await self._size(ref)
        if size < 0:
            raise BlobMissing(ref)
        if size != ref.size:
            raise BlobCorrupt(ref, f"{size} bytes instead of {ref.size}")
        return self._chunks(ref)

    async def read(self, ref: BlobRef, *, limit: int | None = None) -> bytes:
        """Return the whole content; see Blobs.read."""
        within(limit, ref)
        return b"".join([chunk async for chunk in await self.open(ref)])

    async def fetch(self, ref: BlobRef, path: Path) -> None:
        """Copy to a local file; see Blobs.fetch.

        Never a hard link: who edits what he fetched would edit the blob, and reading all of it to prove the
        hash costs as much as the copy.
        """
        await copy_out(await self.open(ref), path)

    async def exists(self, ref: BlobRef) -> bool:
        """Tell whether a file of that name and size is there."""
        return await self._size(ref) == ref.size

    async def delete(self, ref: BlobRef) -> None:
        """Remove a blob; see Blobs.delete."""
        with disk_errors(self._root):
            await to_thread.run_sync(lambda: self._path(ref).unlink(missing_ok=True))

    async def refs(self) -> AsyncIterator[BlobRef]:
        """Yield what the folder holds; see Blobs.refs."""
        with disk_errors(self._root):
            for ref in await to_thread.run_sync(self._listed):
                yield ref

    async def check(self) -> None:
        """Write and remove a small file; see Blobs.check."""
        with disk_errors(self._root):
            await to_thread.run_sync(self._probe)

    def _path(self, ref: BlobRef) -> Path:
        return self._root / ref.sha256[:2] / ref.sha256[2:4] / ref.sha256

    def _listed(self) -> list[BlobRef]:
        found: list[BlobRef] = []
        for path in self._root.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/" + "?" * 64):
            with suppress(FileNotFoundError):  # deleted since
                found.append(BlobRef(path.name, path.stat().st_size))
        return found

    async def _size(self, ref: BlobRef) -> int:
        """Return the size in bytes, -1 when there is no such file."""
        with disk_errors(self._root):
            try:
                return (await to_thread.run_sync(os.stat, self._path(ref))).st_size
            except FileNotFoundError:
                return -1

    async def _chunks(self, ref: BlobRef) -> AsyncIterator[bytes]:
        proof = Proof(ref)
        offset = 0
        while True:
            with disk_errors(self._root):
                try:
                    chunk = await to_thread.run_sync(_chunk_at, self._path(ref), offset, proof)
                except FileNotFoundError:
                    raise BlobMissing(ref) from None
            if not chunk:
                break
            offset += len(chunk)
            yield chunk
        proof.conclude()

    def _prepare(self) -> None:
        if self._parts.is_dir():
            return
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._parts.mkdir(mode=0o700, exist_ok=True)
        sync_path(self._root)

    def _publish(self, part: Path, target: Path) -> None:
        for folder in (target.parent.parent, target.parent):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                sync_path(folder.parent)
        part.replace(target)
        sync_path(target.parent)

    def _probe(self) -> None:
        self._prepare()
        probe = self._parts / f"probe-{uuid.uuid4().hex}"
        try:
            # An empty file fits onto a volume that is full.
            probe.write_bytes(b"probe")
        finally:
            probe.unlink(missing_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what killed writers left, once nobody can still be writing it."""
        oldest = time.time() - _ABANDONED_S
        for part in self._parts.glob("*.part"):
            try:
                if part.stat().st_mtime < oldest:
                    part.unlink()
            except FileNotFoundError:
                continue


def _chunk_at(path: Path, offset: int, proof: Proof) -> bytes:
    """Read the next chunk; opened anew each time, for the reason given at Spool."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        chunk = os.pread(descriptor, CHUNK_BYTES, offset)
    finally:
        os.close(descriptor)
    proof.add(chunk)
    return chunk
