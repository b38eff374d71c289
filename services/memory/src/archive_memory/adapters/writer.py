"""The one thread that writes, and commits for many at once.

A commit that reaches the disk costs the same for one change as for two hundred. What arrives while one is under way
waits and shares the next; nobody is told that his change is stored before it is.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from archive_memory.adapters.connections import connect, translate
from archive_memory.domain.errors import StoreClosed

T = TypeVar("T")

_MAX_GROUP = 256
_MAX_GATHER_S = 0.005


@dataclass(slots=True)
class Transaction:
    """A change in the making: where to write it, and what to do once it is on the disk."""

    connection: sqlite3.Connection
    after_commit: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])


@dataclass(frozen=True, slots=True)
class _Work:
    change: Callable[[Transaction], Any]
    done: Future[Any]


class Writer:
    """Runs changes one after the other in a thread of its own, up to 256 or 5 ms of them in one commit."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inbox: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._accepting = False
        self._thread: threading.Thread | None = None

    async def run(self, change: Callable[[Transaction], T]) -> T:
        """Apply a change; return when it is durable.

        The change sees its own transaction and those before it. If it raises, only its own part is undone. Cancelling
        the wait does not take back a change that has begun.

        Raises:
            StoreClosed: the writer is not running.
            StoreFault: the commit failed; nothing of the change was kept.
        """
        done: Future[T] = Future()
        with self._gate:
            if not self._accepting:
                raise _closed()
            self._inbox.put(_Work(change, done))
        return await asyncio.wrap_future(done)

    def start(self) -> None:
        """Open the connection and begin."""
        connection = connect(self._path)
        self._accepting = True
        self._thread = threading.Thread(target=self._loop, args=(connection,), name="memory-writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish what was accepted, fold the log into the file, and end."""
        with self._gate:
            self._accepting = False
            self._inbox.put(None)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _loop(self, connection: sqlite3.Connection) -> None:
        group: list[_Work] = []
        try:
            while (first := self._inbox.get()) is not None:
                group, last = self._gather(first)
                self._commit(connection, group)
                if last:
                    break
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            # Also when the thread dies of what nobody foresaw: nobody may wait for it for ever.
            self._refuse(group)
            connection.close()

    def _refuse(self, group: list[_Work]) -> None:
        """Take nothing more, and tell whoever still waits."""
        with self._gate:
            self._accepting = False
        while not self._inbox.empty():
            if (work := self._inbox.get()) is not None:
                group.append(work)
        for work in group:
            if not work.done.done():
                work.done.set_exception(_closed())

    def _gather(self, first: _Work) -> tuple[list[_Work], bool]:
        """Return what is waiting already, and whether the end was among it."""
        group = [first]
        until = time.monotonic() + _MAX_GATHER_S
        while len(group) < _MAX_GROUP and time.monotonic() < until:
            try:
                work = self._inbox.get_nowait()
            except queue.Empty:
                break
            if work is None:
                return group, True
            group.append(work)
        return group, False

    def _commit(self, connection: sqlite3.Connection, group: list[_Work]) -> None:
        wanted = [work for work in group if work.done.running() or work.done.set_running_or_notify_cancel()]
        try:
            outcomes, effects = self._attempt(connection, wanted)
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(wanted) == 1:
                wanted[0].done.set_exception(translate(error))
                return
            # One of them may be at fault; alone, it fails alone.
            for work in wanted:
                self._commit(connection, [work])
            return
        for effect in effects:
            effect()
        for work, outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, _Raised):
                work.done.set_exception(outcome.error)
            else:
                work.done.set_result(outcome)

    def _attempt(
        self, connection: sqlite3.Connection, group: list[_Work]
    ) -> tuple[list[object], list[Callable[[], None]]]:
        """Run the changes in one transaction; return each one's result or error, and what to do now."""
        outcomes: list[object] = []
        effects: list[Callable[[], None]] = []
        connection.execute("BEGIN IMMEDIATE")
        for work in group:
            transaction = Transaction(connection)
            connection.execute("SAVEPOINT change")
            try:
                outcomes.append(work.change(transaction))
                effects.extend(transaction.after_commit)
            except sqlite3.Error:
                raise
            except Exception as error:  # noqa: BLE001 - it belongs to the caller, who gets it; the thread must live on
                connection.execute("ROLLBACK TO change")
                outcomes.append(_Raised(error))
            connection.execute("RELEASE change")
        connection.execute("COMMIT")
        return outcomes, effects


def _closed() -> StoreClosed:
    return StoreClosed(
        "The store is not open.",
        next_step="If the service is not stopping, restart it; what was acknowledged is on the disk.",
    )


@dataclass(frozen=True, slots=True)
class _Raised:
    error: Exception
