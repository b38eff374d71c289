"""Group commit, and failures that stay with whoever caused them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from archive_memory.adapters.writer import Transaction, Writer
from archive_memory.domain.errors import DiskFull, StoreBusy, StoreClosed


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    started = Writer(path)
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE t (x)")
    raw.close()
    started.start()
    yield started
    started.stop()


def insert_one(tx: Transaction) -> None:
    tx.connection.execute("INSERT INTO t VALUES (1)")


def count(tx: Transaction) -> int:
    return tx.connection.execute("SELECT count(*) FROM t").fetchone()[0]


async def test_failing_change_spares_its_neighbours(writer: Writer) -> None:
    def spoil(tx: Transaction) -> float:
        return tx.connection.execute("DELETE FROM t").rowcount / 0

    async def good() -> None:
        await writer.run(insert_one)

    async def bad() -> None:
        with pytest.raises(ZeroDivisionError):
            await writer.run(spoil)

    async with anyio.create_task_group() as group:
        for _ in range(40):
            group.start_soon(good)
            group.start_soon(bad)
    assert await writer.run(count) == 40


async def test_sql_error_spares_its_neighbours(writer: Writer) -> None:
    def spoil(tx: Transaction) -> None:
        tx.connection.execute("DELETE FROM nowhere")

    async def bad() -> None:
        with pytest.raises(StoreBusy, match="no such table"):
            await writer.run(spoil)

    async with anyio.create_task_group() as group:
        group.start_soon(bad)
        group.start_soon(writer.run, insert_one)
        group.start_soon(bad)
    assert await writer.run(count) == 1


async def test_full_disk_is_told(writer: Writer) -> None:
    await writer.run(lambda tx: tx.connection.execute("PRAGMA max_page_count = 4").fetchone())
    with pytest.raises(DiskFull) as full:
        await writer.run(lambda tx: tx.connection.execute("INSERT INTO t VALUES (zeroblob(100000))").rowcount)
    assert full.value.next_step
    assert await writer.run(count) == 0


async def test_effects_follow_the_commit(writer: Writer, path: Path) -> None:
    seen: list[int] = []

    def look() -> None:
        with sqlite3.connect(path) as raw:
            seen.append(raw.execute("SELECT count(*) FROM t").fetchone()[0])
        raw.close()

    def change(tx: Transaction) -> None:
        insert_one(tx)
        tx.after_commit.append(look)

    await writer.run(change)
    assert seen == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_dead_writer_leaves_nobody_waiting(writer: Writer) -> None:
    def die() -> None:
        raise AssertionError("an effect nobody foresaw")

    def change(tx: Transaction) -> None:
        tx.after_commit.append(die)

    for _ in range(2):
        with pytest.raises(StoreClosed):
            await writer.run(change)


async def test_accepted_work_is_finished(writer: Writer, path: Path) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(300):
            group.start_soon(writer.run, insert_one)
        await anyio.lowlevel.checkpoint()
        await anyio.to_thread.run_sync(writer.stop)
    with pytest.raises(StoreClosed):
        await writer.run(count)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT count(*) FROM t").fetchone() == (300,)
    raw.close()
