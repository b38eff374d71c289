"""What does the page weigh, how fast is a list of 10,000 jobs, and what do 100 open pages cost?

Weight: the first page with all that it loads, as it is sent and as gzip would pack it. Lists: the time of one page of
10,000 jobs, searched and not, from the request to its last byte, and of the same number for the operator's first look.
Idle: CPU of the console's process while pages are open and nothing happens. Writes .bench/console.json.

Usage: python tests/bench/bench_console.py [--jobs 10000] [--pages 100] [--seconds 20]
"""

import argparse
import asyncio
import gzip
import json
import re
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil

from archive_bus import BusOptions, connect
from archive_contracts.jobs import JobFinished, JobQueued
from archive_contracts.streams import JOBS_JOURNAL
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
    """Return the size of the first page with what it loads, in kB."""
    page = (await http.get("/")).content
    assets = [(await http.get(path)).content for path in sorted(set(ASSET.findall(page.decode())))]
    sent = [page, *assets]
    return {
        "page_sent_kb": round(sum(map(len, sent)) / 1000, 1),
        "page_gzip_kb": round(sum(len(gzip.compress(each)) for each in sent) / 1000, 1),
    }


async def fill(system: ArchiveSystem, jobs: int) -> None:
    """Write the journals of so many ended jobs."""
    info = system.run_info
    async with connect(info["bus_url"], info["state_url"], BusOptions(service="librarian", grace_s=0.2)) as bus:

        async def write(number: int) -> None:
            job = f"bench-{number:06d}"
            begun = JobQueued(job_id=job, kind="ingest", filename=f"file-{number}.pdf")
            await bus.append(begun, to=JOBS_JOURNAL, entity=job, timeout=60.0)
            await bus.append(JobFinished(job_id=job, status="done"), to=JOBS_JOURNAL, entity=job, timeout=60.0)

        for start in range(0, jobs, 200):
            await asyncio.gather(*(write(number) for number in range(start, min(start + 200, jobs))))


async def look(http: httpx.AsyncClient, path: str) -> float:
    """Return the seconds until the first fragment of a watched page has come whole."""
    began = time.perf_counter()
    async with http.stream("GET", path) as reply:
        async for line in reply.aiter_lines():
            if line == "":
                break
    return time.perf_counter() - began


async def lists(http: httpx.AsyncClient) -> dict[str, float]:
    """Return the times of a list of jobs in milliseconds: the first look, then the median of pages and searches."""
    first = await look(http, "/system/jobs/events?from=1")
    paths = [f"/system/jobs/events?from={50 * number}" for number in range(1, LOOKS)]
    searches = [f"/system/jobs/events?q=file-{number}" for number in range(LOOKS)]
    return {
        "jobs_first_look_ms": round(first * 1000, 1),
        "jobs_page_ms": round(median([await look(http, path) for path in paths]) * 1000, 1),
        "jobs_search_ms": round(median([await look(http, path) for path in searches]) * 1000, 1),
    }


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


async def measure(system: ArchiveSystem, *, jobs: int, pages: int, seconds: float) -> dict[str, float]:
    """Return all figures."""
    limits = httpx.Limits(max_connections=pages + 10)
    async with httpx.AsyncClient(base_url=system.run_info["console_url"], timeout=120, limits=limits) as http:
        figures = await weigh(http)
        figures |= await idle(http, system.pid_of("console"), pages=pages, seconds=seconds)
        await fill(system, jobs)
        return figures | {"jobs": float(jobs)} | await lists(http)


def main() -> None:
    """Measure, print a table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    with running() as system:
        figures = asyncio.run(measure(system, jobs=args.jobs, pages=args.pages, seconds=args.seconds))
    table: list[dict[str, Any]] = [{"figure": name, "value": value} for name, value in figures.items()]
    for row in table:
        sys.stdout.write(f"{row['figure']:<22}{row['value']:>12}\n")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures, "table": table}, indent=1))


if __name__ == "__main__":
    main()
