"""Content on its way in and out of a store: collected whole, proved by its hash."""

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

from anyio import to_thread

from archive_blobs._errors import BlobCorrupt, BlobStoreDown, BlobTooLarge
from archive_blobs._ref import BlobRef

# One hop to a worker thread costs about as much as hashing 100 KB.
CHUNK_BYTES = 1 << 20


class Spool:
    """A temporary file of mode 0600 that collects content of unknown length and is removed on leaving.

    Work on the file runs in threads, so that a slow disk stalls no other request. Each step opens the file anew:
    a cancelled task leaves its thread behind, which must not hold a descriptor that was closed and given to a
    socket meanwhile.
    """

    def __init__(self, folder: Path | None, *, limit: int | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        self._limit = limit
        self._digest = hashlib.sha256()
        self._size = 0
        self.path = Path()

    async def __aenter__(self) -> "Spool":
        with disk_errors(self._folder):
            self.path = await to_thread.run_sync(self._create)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not in a thread: a cancelled task must not wait before it cleans up.
        self.path.unlink(missing_ok=True)

    async def fill(self, data: bytes | AsyncIterator[bytes]) -> BlobRef:
        """Write all of it and return its reference. Raises BlobTooLarge."""
        if isinstance(data, bytes):
            self._count(len(data))
            await self._write([data])
        else:
            await self._drain(data)
        return BlobRef(self._digest.hexdigest(), self._size)

    async def sync(self) -> None:
        """Wait until the content is on the disk."""
        with disk_errors(self._folder):
            await to_thread.run_sync(sync_path, self.path)

    async def _write(self, batch: list[bytes]) -> None:
        # Narrow on purpose: an OSError of the caller's stream is not the disk's.
        with disk_errors(self._folder):
            await to_thread.run_sync(self._append, batch)

    async def _drain(self, data: AsyncIterator[bytes]) -> None:
        batch: list[bytes] = []
        held = 0
        async for chunk in data:
            self._count(len(chunk))
            batch.append(chunk)
            held += len(chunk)
            if held >= CHUNK_BYTES:
                await self._write(batch)
                batch, held = [], 0
        if batch:
            await self._write(batch)

    def _count(self, more: int) -> None:
        self._size += more
        if self._limit is not None and self._size > self._limit:
            raise BlobTooLarge(self._limit)

    def _create(self) -> Path:
        descriptor, name = tempfile.mkstemp(dir=self._folder, suffix=".part")
        os.close(descriptor)
        return Path(name)

    def _append(self, batch: list[bytes]) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            for chunk in batch:
                self._digest.update(chunk)
                rest = memoryview(chunk)
                while rest:
                    rest = rest[file.write(rest) :]


class Proof:
    """Compares what is read with the reference it was asked by."""

    def __init__(self, ref: BlobRef) -> None:
        self._ref = ref
        self._digest = hashlib.sha256()
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Count a chunk; hashing one of 1 MiB takes about a millisecond."""
        self._digest.update(chunk)
        self._size += len(chunk)

    def conclude(self) -> None:
        """Raise BlobCorrupt unless all of the content, and nothing else, has come."""
        if self._size != self._ref.size:
            raise BlobCorrupt(self._ref, f"{self._size} bytes instead of {self._ref.size}")
        if self._digest.hexdigest() != self._ref.sha256:
            raise BlobCorrupt(self._ref, f"its content hashes to {self._digest.hexdigest()}")


def within(limit: int | None, ref: BlobRef) -> None:
    """Raise BlobTooLarge when the reference promises more than `limit` bytes."""
    if limit is not None and ref.size > limit:
        raise BlobTooLarge(limit)


async def copy_out(chunks: AsyncIterator[bytes], path: Path) -> None:
    """Write a private copy of `chunks` to `path`, which appears when all of it has come."""
    async with Spool(path.parent) as spool:
        await spool.fill(chunks)
        with disk_errors(path.parent):
            await to_thread.run_sync(partial(os.replace, spool.path, path))


def sync_path(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(folder: Path) -> Generator[None]:
    """Report a failing disk as BlobStoreDown, naming the folder."""
    try:
        yield
    except OSError as error:
        raise BlobStoreDown(
            f"the folder {folder} failed: {error.strerror or error}",
            next_step="check that the folder exists, may be written to and has free space",
        ) from error
