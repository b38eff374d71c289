"""SQLite connections of a partition: opened alike, lent to threads, their errors in this package's words."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from archive_memory.domain.errors import DiskFull, StoreBusy, StoreClosed, StoreCorrupt, StoreFault, StoreLocked

T = TypeVar("T")

_BUSY_TIMEOUT_S = 5.0
_CORRUPT = frozenset({"SQLITE_CORRUPT", "SQLITE_CORRUPT_VTAB", "SQLITE_CORRUPT_INDEX", "SQLITE_NOTADB"})


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the file; transactions are begun by hand, and a commit means the disk has it."""
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def translate(error: sqlite3.Error) -> StoreFault:
    """Return an SQLite error as what it means to whoever waits for the answer."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name == "SQLITE_FULL":
        return DiskFull(
            "The disk is full; nothing of this change was kept.",
            next_step="Free space on the volume of the data folder; the message is delivered again.",
        )
    if name in _CORRUPT:
        return StoreCorrupt(
            f"The store is damaged: {error}.",
            next_step="Stop the service and restore a backup, or move the file away and ingest again.",
        )
    return StoreBusy(
        f"SQLite could not do it: {error} ({name or type(error).__name__}).",
        next_step="It is tried again; if it stays, check the volume of the data folder.",
    )


@contextmanager
def translated() -> Generator[None]:
    """Let SQLite's errors leave as StoreFault."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error) from error


class Ownership:
    """The operating system's lock that makes this process the only one to open a partition.

    SQLite would let two processes write in turns, but each keeps its own vector index and neither would see what the
    other added. The lock ends with the process, however it dies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock or raise StoreLocked."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise StoreLocked(
                f"Another process works on {self._path.stem}.",
                next_step="Stop the other memory service, or give this one another partition or data folder.",
            ) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the partition go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Readers:
    """Connections for queries, lent to worker threads; each loan reads one state of the store."""

    def __init__(self, path: Path, threads: int) -> None:
        self._path = path
        self._limit = anyio.CapacityLimiter(threads)
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._open = False

    async def run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query in a thread."""

        def work() -> T:
            with self.lend() as connection:
                return query(connection)

        return await anyio.to_thread.run_sync(work, limiter=self._limit)

    @contextmanager
    def lend(self) -> Generator[sqlite3.Connection]:
        """Lend a connection inside a read transaction that begins with its first statement."""
        with translated():
            connection = self._take()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._give(connection)

    def start(self) -> None:
        """Lend from now on."""
        self._open = True

    def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        with self._lock:
            self._open = False
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if not self._open:
                raise StoreClosed("The store is not open.", next_step="Open the store before using it.")
            if self._idle:
                return self._idle.pop()
        return connect(self._path, read_only=True)

    def _give(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if self._open:
                self._idle.append(connection)
                return
        connection.close()
