"""Jobs as operators see them: all of every tenant, the latest first."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from archive_contracts.jobs import Job, JobEvent, JobFinished, JobProgressed, JobQueued, fold

VIEWS = ("all", "active", "failed", "ended")
EVENTS: Mapping[str, type[JobEvent]] = {event.type: event for event in (JobQueued, JobProgressed, JobFinished)}


@dataclass(frozen=True, slots=True)
class Told:
    """One entry of a job's journal; ``at`` is in seconds since the epoch."""

    at: float
    event: JobEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job, whose it is, and when it began and last changed, in seconds since the epoch."""

    job: Job
    tenant: str
    began_at: float
    changed_at: float

    @property
    def view(self) -> str:
        """Return the list, beside that of all, in which it stands."""
        if not self.job.ended:
            return "active"
        return "failed" if self.job.status == "failed" else "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A page of jobs, how many match in each view, and where the pages beside this one begin."""

    records: tuple[JobRecord, ...]
    counts: Mapping[str, int]
    newer: int | None
    older: int | None


def record(job_id: str, told: Sequence[Told]) -> JobRecord:
    """Return the job that its journal, which is not empty, describes."""
    queued = next((each.event for each in told if isinstance(each.event, JobQueued)), None)
    return JobRecord(
        job=fold(job_id, (each.event for each in told)),
        tenant=queued.tenant if queued else "",
        began_at=told[0].at,
        changed_at=told[-1].at,
    )


def milestones(told: Iterable[Told]) -> list[Told]:
    """Return what a person wants to read of a journal: the first entry of each phase, and the end."""
    kept: list[Told] = []
    phase = ""
    for each in told:
        if isinstance(each.event, JobProgressed):
            if each.event.phase == phase:
                continue
            phase = each.event.phase
        kept.append(each)
    return kept


def listing(records: Iterable[JobRecord], *, view: str, words: str, offset: int, limit: int) -> Listing:
    """Return the page of ``limit`` jobs from ``offset`` on whose name, tenant, id, phase or error holds ``words``."""
    wanted = words.casefold()
    found = [each for each in records if not wanted or wanted in _searched(each)]
    views = Counter(each.view for each in found)
    counts = {name: views[name] for name in VIEWS[1:]}
    shown = [each for each in found if view in {"all", each.view}]
    shown.sort(key=lambda each: (each.began_at, each.job.id), reverse=True)
    return Listing(
        records=tuple(shown[offset : offset + limit]),
        counts={"all": len(found), **counts},
        newer=max(0, offset - limit) if offset else None,
        older=offset + limit if offset + limit < len(shown) else None,
    )


def _searched(each: JobRecord) -> str:
    job = each.job
    error = f"{job.error.code} {job.error.message}" if job.error else ""
    return f"{job.filename}\n{each.tenant}\n{job.id}\n{job.kind}\n{job.phase}\n{error}".casefold()
