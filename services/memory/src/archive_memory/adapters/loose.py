"""Bytes in the blob store whose document is gone: noted in the transaction that removes it, deleted a while later.

The while is for an upload of the same content under way, whose bytes are stored before its document is known here.
"""

from __future__ import annotations

from archive_blobs import BlobError, BlobRef, Blobs
from archive_memory.adapters.store import Store
from archive_memory.domain.errors import MemoryServiceError
from archive_telemetry import get_logger

log = get_logger(__name__)


class LooseBlobs:
    """Deletes what no document of any tenant refers to."""

    def __init__(self, store: Store, blobs: Blobs, *, grace_s: float) -> None:
        self._store = store
        self._blobs = blobs
        self._grace_s = grace_s

    async def sweep(self) -> int:
        """Delete what has been loose for long enough; return how many. What fails is tried again by the next sweep."""
        try:
            loose = await self._store.loose_blobs(self._grace_s)
            gone = [blob for blob in loose if await self._delete(blob)]
            if gone:
                await self._store.forget_blobs(gone)
        except MemoryServiceError as error:
            log.warning("loose bytes were not looked for", error=str(error))
            return 0
        return len(gone)

    async def _delete(self, blob: str) -> bool:
        try:
            await self._blobs.delete(BlobRef.parse(blob))
        except BlobError as error:
            log.warning("bytes of a deleted document stay for now", blob=blob, error=str(error))
            return False
        return True
