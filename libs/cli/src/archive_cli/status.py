"""Collects what `archive status` shows: processes, engines, documents, streams, memory."""

import asyncio
from collections.abc import Mapping
from typing import Any

from archive_cli import probe
from archive_cli.errors import CliError
from archive_cli.gateway import Gateway
from archive_cli.runinfo import ProcessInfo, RunInfo

Json = dict[str, Any]


def collect_status(info: RunInfo, *, key: str) -> Json:
    """Ask everybody; what does not answer is told as such and spoils nothing else."""
    services, engines = ask_processes(info), None
    problems: list[str] = []
    documents: Mapping[str, Any] | None = None
    try:
        with Gateway(info.url, key=key, timeout_s=5.0) as gateway:
            engines = list(gateway.get("/v1/engines").get("engines", []))
            documents = gateway.get("/library/stats")
    except CliError as error:
        problems.append(f"gateway: {error.message}")
    streams: list[Json] = []
    try:
        from archive_cli.operator import stream_rows

        streams = stream_rows(info)
    except CliError as error:
        problems.append(f"streams: {error.message}")
    return {
        "state": info.state,
        "version": info.version,
        "url": info.url,
        "home": info.home,
        "pid": info.pid,
        "all_in_one": info.all_in_one,
        "memory_mb": memory_mb(info.pid),
        "services": services,
        "engines": engines or [],
        "documents": dict(documents) if documents else None,
        "streams": streams,
        "problems": problems,
    }


def memory_mb(pid: int) -> float:
    """Return the proportional set size of a process and all below it, in MB (10**6 bytes).

    PSS counts a page shared by n processes as 1/n for each, so that the sum is what the machine would gain. Where the
    system does not tell it (macOS), unique memory is summed instead.
    """
    import psutil

    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0.0
    total = 0
    for process in family:
        try:
            memory = process.memory_full_info()
        except psutil.Error:
            continue
        total += int(getattr(memory, "pss", 0) or memory.uss)
    return round(total / 1e6, 1)


def ask_processes(info: RunInfo) -> list[Json]:
    """Ask every process for its state; one that is silent is told as such."""
    return asyncio.run(_ask_all(info))


async def _ask_all(info: RunInfo) -> list[Json]:
    return list(await asyncio.gather(*(_ask(process) for process in info.processes)))


async def _ask(process: ProcessInfo) -> Json:
    told: Json = {
        "name": process.name,
        "state": process.state,
        "pid": process.pid,
        "restarts": process.restarts,
        "health_port": process.health_port,
        "memory_mb": memory_mb(process.pid) if process.pid else 0.0,
        "problem": process.problem,
    }
    if not process.health_port:
        return told
    answer = await probe.get("127.0.0.1", process.health_port, "/readyz", timeout_s=3.0)
    if answer.status != 200:
        told["state"] = "not ready" if answer.status else "silent"
        told["problem"] = "; ".join(probe.failing_checks(answer.body)) or process.problem
    return told
