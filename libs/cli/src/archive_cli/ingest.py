"""Uploads files, a few at a time, and follows each until it is searchable."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from archive_cli.errors import CliError, RefusedError, UsageError
from archive_cli.gateway import Gateway, Json, problem_of

ENDED = frozenset({"done", "partial", "failed", "cancelled"})
_SILENCE_S = 60.0
_BUSY_S = 120.0

Progress = Callable[[Path, Json], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    path: Path
    job: Json
    problem: CliError | None = None

    @property
    def ok(self) -> bool:
        """Whether the file is searchable, at least in part."""
        return self.problem is None

    def to_json(self) -> dict[str, object]:
        """Return it for a program."""
        told: dict[str, object] = {"file": str(self.path), "ok": self.ok, "job": dict(self.job)}
        if self.problem is not None:
            told["error"] = {
                "code": self.problem.code,
                "message": self.problem.message,
                "next_step": self.problem.next_step,
            }
        return told


def collect(paths: Sequence[str], *, only: str = "*") -> list[Path]:
    """Return the files to send: those named, and those in named folders that match `only`, hidden ones left out.

    Raises:
        UsageError: something named does not exist, or there is nothing to send.
    """
    found: dict[Path, None] = {}
    for name in paths:
        path = Path(name)
        if path.is_dir():
            found.update(dict.fromkeys(file for file in _walk(path) if fnmatch(file.name, only)))
        elif path.is_file():
            found[path] = None
        else:
            raise UsageError(f"There is no file {name}.", code="no_such_file", next_step="check the path")
    if not found:
        raise UsageError("There is no file to ingest.", code="nothing_to_ingest", next_step="name files or folders")
    return list(found)


def ingest(
    gateway: Gateway, files: Sequence[Path], *, jobs: int = 4, wait: bool = True, progress: Progress
) -> Iterator[Outcome]:
    """Send the files, at most `jobs` at once; yield outcomes as they come. `progress` is called from any thread."""
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        running = [pool.submit(_one, gateway, file, wait=wait, progress=progress) for file in files]
        try:
            for future in as_completed(running):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def follow(gateway: Gateway, job_id: str, *, seen: Callable[[Json], None]) -> Json:
    """Follow a job until it ended; a broken stream is opened again.

    Raises:
        CliError: the server was silent for a minute, or does not know the job.
    """
    heard = time.monotonic()
    while True:
        try:
            with gateway.events("GET", f"/v1/jobs/{job_id}/events") as events:
                for event in events:
                    heard = time.monotonic()
                    if event.name != "job":
                        continue
                    job: Json = json.loads(event.data)
                    seen(job)
                    if job.get("status") in ENDED:
                        return job
            job = gateway.get(f"/v1/jobs/{job_id}")
            if job.get("status") in ENDED:
                return job
        except RefusedError as error:
            if error.status != 503 or time.monotonic() - heard > _SILENCE_S:
                raise
        except CliError:
            if time.monotonic() - heard > _SILENCE_S:
                raise
        time.sleep(0.5)


def _one(gateway: Gateway, file: Path, *, wait: bool, progress: Progress) -> Outcome:
    try:
        accepted = _upload(gateway, file)
        job: Json = {"id": accepted["job_id"], "document_id": accepted.get("document_id", ""), "status": "queued"}
        progress(file, job)
        if wait:
            job = follow(gateway, str(accepted["job_id"]), seen=lambda state: progress(file, state))
    except CliError as error:
        return Outcome(file, {"status": "failed"}, error)
    if job.get("status") in {"failed", "cancelled"}:
        return Outcome(file, job, _reason(job))
    return Outcome(file, job)


def _upload(gateway: Gateway, file: Path) -> Json:
    """Send one file; a server that is short of something is asked again for a while."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            return gateway.upload(file)
        except RefusedError as error:
            if error.status not in {429, 503} or time.monotonic() > until:
                raise
        time.sleep(1.0)


def _reason(job: Json) -> CliError:
    if job.get("error"):
        return problem_of({"error": job["error"]})
    return RefusedError(f"The job ended as {job.get('status')}.", code=str(job.get("status")))


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        elif path.is_file():
            yield path
