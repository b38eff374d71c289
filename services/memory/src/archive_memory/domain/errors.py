"""What can go wrong in memory.

MemoryServiceError
|-- StoreFault              the partition's file
|   |-- StoreLocked         another process owns the partition
|   |-- StoreCorrupt        the file is damaged or is no store at all
|   |-- StoreVersion        the file was written by a newer release
|   |-- StoreClosed         the store was asked for work before open() or after close()
|   |-- StoreBusy           SQLite could not do it now: a lock, a read error
|   `-- DiskFull            a commit did not fit on the disk; nothing of it was kept
|-- SnapshotCorrupt         an index snapshot fails its checksum
`-- VectorsRejected         vectors do not fit the texts or the index they are meant for
"""

from __future__ import annotations


class MemoryServiceError(Exception):
    """What happened and what to do about it."""

    code = "memory_error"

    def __init__(self, message: str, *, next_step: str) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}"


class StoreFault(MemoryServiceError):
    """Something is wrong with the partition's file."""

    code = "store_fault"


class StoreLocked(StoreFault):
    """Two writers on one partition would each believe that its index and its counts are the truth."""

    code = "store_locked"


class StoreCorrupt(StoreFault):
    """The file cannot be trusted, so nothing is read from it."""

    code = "store_corrupt"


class StoreVersion(StoreFault):
    """A newer release migrated this file; an older one must not write to it."""

    code = "store_version"


class StoreClosed(StoreFault):
    """The store is not open."""

    code = "store_closed"


class StoreBusy(StoreFault):
    """SQLite refused for a reason that may pass."""

    code = "store_busy"


class DiskFull(StoreFault):
    """The commit was rolled back: what it acknowledged before is still there, this is not."""

    code = "disk_full"


class SnapshotCorrupt(MemoryServiceError):
    """The index must be built from the store instead."""

    code = "snapshot_corrupt"


class VectorsRejected(MemoryServiceError):
    """Their number, dimension or values are wrong."""

    code = "vectors_rejected"
