"""What does the page weigh, how fast are lists of 10,000, and what do 100 open pages cost?

Weight: the first page with all that it loads, as it is packed and as it is. Lists of documents, conversations and jobs:
the time of the answer to a request for a page of them and for a search, and, in Chromium, from the click to the paint
of the list. Idle: CPU of the console's process while pages are open and nothing happens. Writes .bench/console.json.

Usage: python tests/bench/bench_console.py [--items 10000] [--pages 100] [--seconds 20]
"""

import argparse
import asyncio
import json
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
from page_paint import paints

from archive_bus import BusOptions, connect
from archive_contracts.documents import DocumentChunked
from archive_contracts.jobs import JobQueued
from archive_contracts.streams import DOCUMENT_CHUNKS, JOBS_JOURNAL
from archive_testkit.system import ArchiveSystem

OUT = Path(".bench/console.json")
ASSET = re.compile(r'(?:href|src)="(/static/[^"]+)"')
WATCHED = ("/documents/events", "/system/overview/events", "/system/jobs/events", "/system/streams/events")
LOOKS = 20


@contextmanager
def running() -> Generator[ArchiveSystem]:
    """Start a system on an empty folder."""
    with tempfile.TemporaryDirectory(prefix="bench-console-") as folder:
        system = ArchiveSystem(Path(folder) / "home", options=("--ports", "console=0")).start()
        try:
            yield system
        finally:
            system.stop()


async def weigh(http: httpx.AsyncClient) -> dict[str, float]:
    """Return the size of the first page with what it loads, in kB: the bytes on the line, and what they unpack to."""
    page = await http.get("/")
    answers = [page, *[await http.get(path) for path in sorted(set(ASSET.findall(page.text)))]]
    return {
        "page_packed_kb": round(sum(answer.num_bytes_downloaded for answer in answers) / 1000, 1),
        "page_whole_kb": round(sum(len(answer.content) for answer in answers) / 1000, 1),
    }


async def fill(system: ArchiveSystem, items: int) -> None:
    """Add so many documents, whose jobs have ended, and so many conversations."""
    info = system.run_info
    async with connect(info["bus_url"], info["state_url"], BusOptions(service="librarian", grace_s=0.2)) as bus:

        async def write(number: int) -> None:
            job, document, name = f"bench-{number:06d}", f"{number:064x}", f"file-{number}.pdf"
            begun = JobQueued(job_id=job, kind="ingest", document_id=document, filename=name)
            await bus.append(begun, to=JOBS_JOURNAL, entity=job, timeout=60.0)
            # Without a passage nothing is embedded: a row of the catalogue is all that a list shows.
            read = DocumentChunked(
                job_id=job,
                document_id=document,
                filename=name,
                format="pdf",
                title=f"Report {number}",
                pages=3,
                recipe="bench",
                batch=0,
                batches=1,
                total_chunks=0,
                chunks=(),
            )
            await bus.publish(read, to=DOCUMENT_CHUNKS, timeout=60.0)

        for start in range(0, items, 200):
            await asyncio.gather(*(write(number) for number in range(start, min(start + 200, items))))
    await asyncio.to_thread(talk, system.home / "console" / "conversations.db", items)


def talk(path: Path, items: int) -> None:
    """Write conversations straight into the console's file: by their stream, each a commit, they would take minutes."""
    rows = [(f"c{number:08}", f"What does file-{number} say?", 1e9 + number) for number in range(items)]
    with closing(sqlite3.connect(path, timeout=60)) as store, store:
        store.executemany("INSERT INTO conversations VALUES ('default', ?1, ?2, ?3, ?3)", rows)
        store.executemany(
            "INSERT INTO turns VALUES (NULL, 'default', ?1, ?1, 'chat', ?2, '', '[]', 0, ?3, 'done', 'Little.', '',"
            " '[]', '[]', NULL, ?3)",
            rows,
        )
        store.execute("INSERT INTO words (rowid, question, answer) SELECT seq, question, answer FROM turns")


async def filled(http: httpx.AsyncClient, items: int) -> None:
    """Wait until the catalogue shows all documents."""
    while f"{items:,} documents".replace(",", "\u202f") not in (await http.get("/documents")).text:
        await asyncio.sleep(1)


async def look(http: httpx.AsyncClient, path: str) -> float:
    """Return the seconds until the first fragment of a watched page has come whole."""
    began = time.perf_counter()
    async with http.stream("GET", path) as reply:
        async for line in reply.aiter_lines():
            if line == "":
                break
    return time.perf_counter() - began


async def timed(http: httpx.AsyncClient, paths: list[str]) -> float:
    """Return the median of the milliseconds until these pages have come whole."""
    times: list[float] = []
    for path in paths:
        began = time.perf_counter()
        (await http.get(path)).raise_for_status()
        times.append(time.perf_counter() - began)
    return round(median(times) * 1000, 1)


async def lists(http: httpx.AsyncClient) -> dict[str, float]:
    """Return the times of the lists in milliseconds: of the jobs their first look, of all a page and a search."""
    first = await look(http, "/system/jobs/events?from=1")
    pages = {"documents": "/documents?page={}", "conversations": "/?from={}0", "jobs": "/system/jobs?from={}0"}
    searches = {"documents": "/documents?q=file-{}", "conversations": "/?q=file-{}", "jobs": "/system/jobs?q=file-{}"}
    figures = {"jobs_first_look_ms": round(first * 1000, 1)}
    for name, page in pages.items():
        figures[f"{name}_page_ms"] = await timed(http, [page.format(number) for number in range(1, LOOKS)])
        figures[f"{name}_search_ms"] = await timed(http, [searches[name].format(number) for number in range(LOOKS)])
    return figures


async def idle(http: httpx.AsyncClient, pid: int, *, pages: int, seconds: float) -> dict[str, float]:
    """Return the share of a core that the console takes while pages are open."""
    process = psutil.Process(pid)

    async def read(path: str) -> None:
        async with http.stream("GET", path) as reply:
            async for _ in reply.aiter_bytes():
                pass

    tasks = [asyncio.create_task(read(WATCHED[number % len(WATCHED)])) for number in range(pages)]  # noqa: TID251 - a bench, which cancels them below
    await asyncio.sleep(5)
    before = process.cpu_times()
    await asyncio.sleep(seconds)
    after = process.cpu_times()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    used = after.user + after.system - before.user - before.system
    return {"idle_pages": pages, "idle_core_percent": round(used / seconds * 100, 2)}


async def measure(system: ArchiveSystem, *, items: int, pages: int, seconds: float) -> dict[str, float]:
    """Return all figures."""
    limits = httpx.Limits(max_connections=pages + 10)
    async with httpx.AsyncClient(base_url=system.run_info["console_url"], timeout=120, limits=limits) as http:
        figures = await weigh(http)
        figures |= await idle(http, system.pid_of("console"), pages=pages, seconds=seconds)
        await fill(system, items)
        await filled(http, items)
        return figures | {"items": float(items)} | await lists(http)


def main() -> None:
    """Measure, print a table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    with running() as system:
        figures = asyncio.run(measure(system, items=args.items, pages=args.pages, seconds=args.seconds))
        figures |= paints(str(system.run_info["console_url"]))
    table: list[dict[str, Any]] = [{"figure": name, "value": value} for name, value in figures.items()]
    for row in table:
        sys.stdout.write(f"{row['figure']:<28}{row['value']:>12}\n")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures, "table": table}, indent=1))


if __name__ == "__main__":
    main()
