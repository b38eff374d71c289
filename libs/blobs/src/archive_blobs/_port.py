"""What every store of blobs can do."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from archive_blobs._ref import BlobRef


class Blobs(Protocol):
    """Immutable content, found by its hash.

    A blob is visible whole or not at all, and reading one proves its hash. Every method raises BlobStoreDown
    when the store does not answer.
    """

    async def put(self, data: bytes | AsyncIterator[bytes], *, limit: int | None = None) -> BlobRef:
        """Store content and return its reference; storing the same content again is harmless, and repairs it.

        Raises BlobTooLarge as soon as more than `limit` bytes have come.
        """
        ...

    async def open(self, ref: BlobRef) -> AsyncIterator[bytes]:
        """Return the content in chunks.

        Raises BlobMissing at once, and BlobCorrupt while iterating, at the latest instead of the end: a reader
        that acts on chunks must be able to undo it.
        """
        ...

    async def read(self, ref: BlobRef, *, limit: int | None = None) -> bytes:
        """Return the whole content. Raises BlobMissing, BlobCorrupt, and BlobTooLarge before reading anything."""
        ...

    async def fetch(self, ref: BlobRef, path: Path) -> None:
        """Write a private copy to a local file, which appears whole or not at all. Raises as `open`."""
        ...

    async def exists(self, ref: BlobRef) -> bool:
        """Tell whether the store holds a blob of that name and size."""
        ...

    async def delete(self, ref: BlobRef) -> None:
        """Remove a blob; removing one that is not there is no error."""
        ...

    def refs(self) -> AsyncIterator[BlobRef]:
        """Yield every blob that the store holds; what comes or goes meanwhile may be missed."""
        ...

    async def check(self) -> None:
        """Prove that the store can be reached and written. Raises BlobStoreDown."""
        ...
