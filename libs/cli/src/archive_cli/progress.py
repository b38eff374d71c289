"""How an ingest is shown: bars on a terminal, a line a file elsewhere, JSON lines for programs."""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from archive_cli.answers import counts, share
from archive_cli.console import Console
from archive_cli.ingest import Outcome

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Json = Mapping[str, Any]


class Shown(Protocol):
    """Where an ingest tells how far it is. `moved` is called from any thread."""

    def moved(self, path: Path, job: Json) -> None:
        """Tell that a job moved on."""
        ...

    def ended(self, outcome: Outcome) -> None:
        """Tell what became of a file."""
        ...


@contextmanager
def show_progress(files: Sequence[Path], console: Console) -> Generator[Shown]:
    """Yield what fits where the output goes."""
    if console.as_json:
        yield _JsonLines(console)
    elif not sys.stdout.isatty():
        yield _Lines(console)
    else:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[detail]}"))
        with Progress(*columns) as progress:
            yield _Bars(progress, files)


def ending(outcome: Outcome) -> list[str]:
    """Return the lines that tell a person what became of a file."""
    if outcome.problem is not None:
        lines = [f"failed   {outcome.path}: {outcome.problem.message}"]
        return [*lines, f"         next: {outcome.problem.next_step}"] if outcome.problem.next_step else lines
    job = outcome.job
    known = " (the same content was there already)" if job.get("duplicate") else ""
    bad = f" (unreadable pages: {', '.join(map(str, job['bad_pages']))})" if job.get("bad_pages") else ""
    status = str(job.get("status", "queued"))
    detail = counts(job) or f"job {job.get('id', '')}"
    return [f"{status:<8} {outcome.path}: {detail}{known}{bad}  [{job.get('document_id', '')}]"]


class _JsonLines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def moved(self, path: Path, job: Json) -> None:
        self._console.json({"file": str(path), "job": dict(job)})

    def ended(self, outcome: Outcome) -> None:
        self._console.json({"ended": True} | outcome.to_json())


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[Path, str] = {}

    def moved(self, path: Path, job: Json) -> None:
        phase = str(job.get("phase") or job.get("status"))
        # A line a phase: a log file wants no bar.
        if phase != "done" and self._told.get(path) != phase:
            self._told[path] = phase
            self._console.text(f"{phase:<11} {path} {counts(job)}".rstrip())

    def ended(self, outcome: Outcome) -> None:
        for line in ending(outcome):
            self._console.text(line)


class _Bars:
    def __init__(self, progress: "Progress", files: Sequence[Path]) -> None:
        self._progress = progress
        self._tasks: dict[Path, TaskID] = {}
        self._width = min(40, max(len(file.name) for file in files))

    def moved(self, path: Path, job: Json) -> None:
        if path not in self._tasks:
            name = path.name if len(path.name) <= self._width else f"{path.name[: self._width - 3]}..."
            self._tasks[path] = self._progress.add_task(name.ljust(self._width), total=1.0, detail="")
        parts = (job.get("phase") or job.get("status"), share(job), counts(job))
        detail = " ".join(str(part) for part in parts if part)
        self._progress.update(self._tasks[path], completed=float(job.get("progress") or 0.0), detail=detail)

    def ended(self, outcome: Outcome) -> None:
        if outcome.path in self._tasks:
            self._progress.remove_task(self._tasks.pop(outcome.path))
        for line in ending(outcome):
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
