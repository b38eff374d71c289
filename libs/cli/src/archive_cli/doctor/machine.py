"""Judges this machine and what runs on it: disk, data folder, processes, versions, engines."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from archive_cli.doctor.finding import Finding, failure, ok, warning

Json = Mapping[str, Any]
LITTLE, VERY_LITTLE = 2_000_000_000, 200_000_000
"""Free bytes below which a disk is a warning, and a failure."""


def judge_disk(path: str, *, free: int, total: int) -> Finding:
    """Judge the free bytes of a volume."""
    told = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free at {path}"
    if free < VERY_LITTLE:
        return failure("disk", told, "free space, or enlarge the volume: what cannot be written is refused")
    if free < LITTLE:
        return warning("disk", told, "free space, or move the data folder")
    return ok("disk", told)


def judge_modes(readable: Collection[str]) -> Finding:
    """Judge names of private files that others can read."""
    if readable:
        return failure(
            "data folder",
            f"others can read {', '.join(sorted(readable))}, which hold passwords or documents",
            f"chmod go-rwx {' '.join(sorted(readable))}",
        )
    return ok("data folder", "only its owner can read it")


def judge_processes(processes: Sequence[Json], *, version: str, own_version: str) -> Iterator[Finding]:
    """Judge what the supervisor and the processes say of themselves."""
    if version != own_version:
        yield warning("versions", f"{version} runs, this command is {own_version}", "`archive down`, then `archive up`")
    else:
        yield ok("versions", f"{version} runs, as this command")
    bad = [process for process in processes if process["state"] != "ready"]
    for process in bad:
        name, why = process["name"], process["problem"] or "no reason told"
        yield failure("processes", f"{name} is {process['state']}: {why}", f"`archive logs {name}`")
    for process in processes:
        if process not in bad and process["restarts"] > 0:
            times = process["restarts"]
            yield warning("processes", f"{process['name']} was restarted {times} times", "`archive logs` says why")
    if not bad:
        yield ok("processes", f"all {len(processes)} are ready")


def judge_engines(engines: Sequence[Json], wanted: Collection[str]) -> Iterator[Finding]:
    """Judge the living engines; each of the pools that are ``wanted`` needs a healthy one.

    A worker lives beside a server that answers nothing, too: it serves once that one does.
    """
    serving = [engine for engine in engines if engine.get("healthy", True)]
    for engine in engines:
        if engine not in serving:
            where = engine.get("base_url") or "built in"
            why = engine.get("problem") or "not healthy"
            yield warning(
                "engines",
                f"{engine['engine']} ({where}) does not answer: {why}",
                f"start the server, or `archive engines remove {engine['engine']}`",
            )
    alive = {str(engine["pool"]) for engine in serving}
    missing = sorted(set(wanted) - alive)
    for pool in missing:
        yield failure(
            "engines", f"no engine serves {pool}", "`archive engines list`, `archive logs`; or is the pool at zero?"
        )
    if not missing:
        yield ok("engines", f"{len(serving)} serve {', '.join(sorted(alive)) or 'nothing'}")
