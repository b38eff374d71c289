"""What survives: restarts, kills, damage, foreign files, full disks, two owners."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest
from memory_samples import batch, info, query, vectors

from archive_memory.adapters.schema import MIGRATIONS, migrate
from archive_memory.adapters.store import Store
from archive_memory.adapters.vectors import Backend
from archive_memory.domain.catalogue import NewTurn
from archive_memory.domain.errors import StoreClosed, StoreCorrupt, StoreLocked, StoreVersion

# Adds documents of two batches, several at once, and says so on its output when each is durable.
_WRITER = """
import asyncio, sys
from pathlib import Path
sys.path.append(sys.argv[2])
from memory_samples import batch, vectors
from archive_memory.adapters.store import Store

async def document(store, number, out):
    for part in (0, 1):
        sent = batch(f"word{number} part{part}", document=f"d{number}", job=f"j{number}", number=part, batches=2)
        await store.add_batch("default", f"m{number}-{part}", sent, vectors(f"v{number}-{part}"))
        out.write(f"{number}-{part}\\n"); out.flush()

async def main():
    async with Store(Path(sys.argv[1])) as store:
        for start in range(int(sys.argv[3]), 100000, 4):
            await asyncio.gather(*(document(store, start + i, sys.stdout) for i in range(4)))

asyncio.run(main())
"""


def _killed_writer(path: Path, start: int, lines: int, delay: float) -> list[str]:
    """Run the writer until it acknowledged some lines, kill it a moment later, return all it acknowledged."""
    command = [sys.executable, "-c", _WRITER, str(path), str(Path(__file__).parent), str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(lines)]
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += process.stdout.read().splitlines()
    return [line for line in acknowledged if line]


async def test_killed_writer_loses_nothing(path: Path) -> None:
    acknowledged: list[str] = []
    for round_number in range(5):
        acknowledged += _killed_writer(path, round_number * 10000, 3 + 7 * round_number, 0.003 * round_number)
    async with Store(path) as store:
        for line in acknowledged:
            number, part = map(int, line.split("-"))
            sent = batch(f"word{number} part{part}", document=f"d{number}", job=f"j{number}", number=part, batches=2)
            again = await store.add_batch("default", f"m{number}-{part}", sent, vectors(f"v{number}-{part}"))
            assert not again.new
        complete = {line.split("-")[0] for line in acknowledged if line.endswith("-1")}
        for number in sorted(complete)[:20]:
            hits = await store.search_chunks("default", f"word{number}", query(f"v{number}-0"), top_k=5)
            assert sorted(hit.chunk.text for hit in hits if hit.document_id == f"d{number}") == [
                f"word{number} part0",
                f"word{number} part1",
            ]
    assert len(acknowledged) > 60
    _assert_consistent(path)


def _assert_consistent(path: Path) -> None:
    """Every recorded message has its effect exactly once, and no effect is without its message."""
    with sqlite3.connect(path) as raw:
        messages = {row[0] for row in raw.execute("SELECT message_id FROM processed")}
        rows = raw.execute("SELECT document, position / 100, count(*) FROM chunks GROUP BY 1, 2").fetchall()
        owners = raw.execute("SELECT owner, count(*) FROM vectors GROUP BY 1").fetchall()
    raw.close()
    assert {f"m{document[1:]}-{part}" for document, part, _ in rows} == messages
    assert {count for *_, count in rows} == {1}
    assert {count for _, count in owners} == {1}
    assert len(owners) == len(messages)


@pytest.mark.parametrize("backend", ["exact", "hnsw"])
async def test_everything_is_there_after_restart(path: Path, backend: Backend) -> None:
    async with Store(path, backend=backend) as store:
        await store.add_batch("default", "m1", batch("alpha", "beta"), vectors("alpha", "beta"))
        await store.remember_turns("default", "m2", [NewTurn("user", "gamma")], vectors("gamma"))
        before = await store.search_chunks("default", "", query("beta"))
    async with Store(path, backend=backend) as store:
        assert await store.search_chunks("default", "", query("beta")) == before
        assert (await store.recall("default", "", query("gamma")))[0].text == "gamma"
        assert not (await store.add_batch("default", "m1", batch("alpha", "beta"), vectors("alpha", "beta"))).new


async def test_stale_graph_snapshot_catches_up(path: Path) -> None:
    async with Store(path, backend="hnsw") as store:
        await store.add_batch("default", "m1", batch("alpha"), vectors("alpha"))
        await store.search_chunks("default", "", query("alpha"))
    async with Store(path) as store:
        await store.delete_document("default", "m2", "doc-1")
        await store.add_batch("default", "m3", batch("beta", document="doc-2", job="job-2"), vectors("beta"))
    async with Store(path, backend="hnsw") as store:
        hits = await store.search_chunks("default", "", query("beta"), top_k=9)
        assert [hit.chunk.text for hit in hits] == ["beta"]


async def test_damaged_graph_snapshot_is_rebuilt(path: Path) -> None:
    async with Store(path, backend="hnsw") as store:
        await store.add_batch("default", "m1", batch("alpha"), vectors("alpha"))
        await store.search_chunks("default", "", query("alpha"))
    (snapshot,) = path.parent.glob("*.hnsw")
    _overwrite(snapshot)
    async with Store(path, backend="hnsw") as store:
        assert len(await store.search_chunks("default", "", query("alpha"))) == 1


async def test_second_owner_is_refused(path: Path, store: Store) -> None:
    with pytest.raises(StoreLocked) as locked:
        await Store(path).open()
    assert locked.value.next_step
    assert await store.list_documents("default") == ([], 0)


async def test_partition_is_free_after_close(path: Path) -> None:
    async with Store(path) as store:
        await store.add_batch("default", "m1", batch("alpha"), vectors("alpha"))
    async with Store(path) as store:
        assert len(await store.search_chunks("default", "alpha")) == 1


async def test_damaged_file_is_recognised(path: Path) -> None:
    async with Store(path) as store:
        for number in range(30):
            sent = batch("x" * 3000, document=f"d{number}", job=f"j{number}")
            await store.add_batch("default", f"m{number}", sent, vectors("x"))
    _overwrite(path)
    with pytest.raises(StoreCorrupt):
        await Store(path).open()


def _overwrite(path: Path) -> None:
    """Put noise over the second quarter of a file."""
    content = bytearray(path.read_bytes())
    quarter = len(content) // 4
    content[quarter : 2 * quarter] = os.urandom(quarter)
    path.write_bytes(content)


@pytest.mark.parametrize("content", [b"not a database, but long enough to look like one" * 40, b"SQLite format 3"])
async def test_other_file_is_no_store(path: Path, content: bytes) -> None:
    await anyio.Path(path).write_bytes(content)
    with pytest.raises(StoreCorrupt):
        await Store(path).open()


async def test_foreign_database_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE recipes (name)")
    foreign.close()
    with pytest.raises(StoreCorrupt, match="another program"):
        await Store(path).open()


async def test_newer_schema_is_refused(path: Path) -> None:
    async with Store(path):
        pass
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(StoreVersion):
        await Store(path).open()


def test_migrations_run_once_each(path: Path) -> None:
    steps = (*MIGRATIONS, "CREATE TABLE later (x);")
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection)
    for _ in range(2):
        migrate(connection, steps)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(steps),)
    assert connection.execute("SELECT count(*) FROM later").fetchone() == (0,)
    connection.close()


async def test_closed_store_says_so(path: Path) -> None:
    store = Store(path)
    with pytest.raises(StoreClosed):
        await store.list_documents("default")
    await store.open()
    await store.check()
    await store.close()
    with pytest.raises(StoreClosed):
        await store.check()
    with pytest.raises(StoreClosed):
        await store.queue_document("default", "m1", info())


async def test_old_messages_are_pruned(path: Path) -> None:
    now = 1000.0
    async with Store(path, clock=lambda: now) as store:
        await store.queue_document("default", "m1", info())
        now = 5000.0
        await store.queue_document("default", "m2", info("doc-2", "job-2"))
        assert await store.prune(older_than_s=100.0) == 1
        assert await store.queue_document("default", "m1", info())
        assert not await store.queue_document("default", "m2", info("doc-2", "job-2"))


async def test_writers_and_readers_work_together(store: Store) -> None:
    async def write(worker: int) -> None:
        for number in range(10):
            name = f"{worker}-{number}"
            sent = batch(f"common word{worker}x{number}", document=f"d{name}", job=f"j{name}")
            await store.add_batch("default", f"m{name}", sent, vectors(name))

    async def read() -> None:
        for _ in range(30):
            hits = await store.search_chunks("default", "common", query("0-0"), top_k=20)
            assert len({hit.chunk.id for hit in hits}) == len(hits)

    async with anyio.create_task_group() as group:
        for worker in range(4):
            group.start_soon(write, worker)
            group.start_soon(read)
    stats = await store.stats("default")
    assert (stats.documents, stats.vectors) == (40, 40)
    hits = await store.search_chunks("default", "", query("3-9"), top_k=1)
    assert hits[0].document_id == "d3-9"
