"""What happens to a file in the watched folder: pure decisions.

dropped  →  .work/<job>/  →  archive/YYYY/MM/   done
                          →  duplicates/        the content was there already
                          →  failed/            refused, with <name>.error.json beside it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from archive_contracts.jobs import Job

WORK, ARCHIVE, DUPLICATES, FAILED = ".work", "archive", "duplicates", "failed"
RETRY = "failed/retry"
_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp", ".swp", "~")


@dataclass(frozen=True, slots=True)
class Look:
    """What one scan saw of a regular file; `name` is relative to the watched folder."""

    name: PurePosixPath
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Done:
    """The document is searchable."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The same content is a document already."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The file was refused; the fields are those of the job's error."""

    code: str
    message: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Later:
    """Something else is broken (the bus, the blob store); the file stays claimed and is submitted again."""


Outcome = Done | Duplicate | Failed | Later


def outcome_of(job: Job) -> Outcome | None:
    """What the end of a job means for its file; None while the job runs."""
    if not job.ended:
        return None
    if job.status in {"done", "partial"}:
        return Duplicate() if job.duplicate else Done()
    if job.error:
        return Failed(job.error.code, job.error.message, job.error.next_step)
    return Failed("cancelled", "The job was cancelled.", "Drop the file again to start over.")


def is_candidate(name: PurePosixPath) -> bool:
    """Whether a file of that name may be taken: not hidden, not half-written, not one of our own folders.

    A file put into `failed/retry` is taken again.
    """
    if any(part.startswith(".") for part in name.parts):
        return False
    if name.name.lower().endswith(_UNFINISHED):
        return False
    if len(name.parts) > 1 and name.parts[0] in {ARCHIVE, DUPLICATES, FAILED}:
        return name.is_relative_to(RETRY) and name != PurePosixPath(RETRY)
    return True


def is_open_folder(name: PurePosixPath) -> bool:
    """Whether the scan goes down into a folder."""
    if any(part.startswith(".") for part in name.parts):
        return False
    if name.parts[0] in {ARCHIVE, DUPLICATES}:
        return False
    return name.parts[0] != FAILED or name == PurePosixPath(FAILED) or name.is_relative_to(RETRY)


def settled(before: Mapping[PurePosixPath, Look], now: Mapping[PurePosixPath, Look]) -> list[Look]:
    """The files that nobody wrote to between two looks: same size, time and inode. Empty ones too."""
    return sorted((look for name, look in now.items() if before.get(name) == look), key=lambda look: look.name)


def claimed_name(name: PurePosixPath) -> PurePosixPath:
    """The path of a file below `.work/<job>/`: as it was dropped, without the retry folder."""
    return name.relative_to(RETRY) if name.is_relative_to(RETRY) else name


def destination(outcome: Done | Duplicate | Failed, name: PurePosixPath, when: datetime) -> PurePosixPath:
    """Where a claimed file ends, relative to the watched folder."""
    if isinstance(outcome, Done):
        return PurePosixPath(ARCHIVE, f"{when:%Y}", f"{when:%m}") / name
    return PurePosixPath(DUPLICATES if isinstance(outcome, Duplicate) else FAILED) / name


def numbered(name: PurePosixPath, attempt: int) -> PurePosixPath:
    """`a.pdf`, then `a (2).pdf`, `a (3).pdf`: nothing is ever overwritten. `attempt` counts from 1."""
    return name if attempt == 1 else name.with_name(f"{name.stem} ({attempt}){name.suffix}")


def error_file(outcome: Failed, *, job: str, attempts: int, when: datetime) -> str:
    """The text of `<name>.error.json`."""
    fields = {
        "code": outcome.code,
        "reason": outcome.message,
        "next_step": outcome.next_step,
        "retry": f"Move the file to {RETRY}/ to try again.",
        "attempts": attempts,
        "job": job,
        "at": when.isoformat(timespec="seconds"),
    }
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
