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
    """A job, whose it is, and when it began and last changed, in seconds since the epoch.

    ``view`` is the list, beside that of all, in which it stands; ``searched`` what a search looks through. Both are
    made once: a page of the list looks at thousands of records.
    """

    job: Job
    tenant: str
    began_at: float
    changed_at: float
    view: str
    searched: str


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
    job, tenant = fold(job_id, (each.event for each in told)), queued.tenant if queued else ""
    return JobRecord(
        job=job,
        tenant=tenant,
        began_at=told[0].at,
        changed_at=told[-1].at,
        view="active" if not job.ended else "failed" if job.status == "failed" else "ended",
        searched=_searched(job, tenant),
    )


def newest_first(records: Iterable[JobRecord]) -> list[JobRecord]:
    """Return records in the order in which they are listed."""
    return sorted(records, key=lambda each: (each.began_at, each.job.id), reverse=True)


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
    """Return the page of ``limit`` jobs from ``offset`` on whose name, tenant, id, phase or error holds ``words``.

    ``records`` are the newest first.
    """
    wanted = words.casefold()
    found = [each for each in records if wanted in each.searched]
    views = Counter([each.view for each in found])
    counts = {name: views[name] for name in VIEWS[1:]}
    shown = found if view == "all" else [each for each in found if each.view == view]
    return Listing(
        records=tuple(shown[offset : offset + limit]),
        counts={"all": len(found), **counts},
        newer=max(0, offset - limit) if offset else None,
        older=offset + limit if offset + limit < len(shown) else None,
    )


def _searched(job: Job, tenant: str) -> str:
    error = f"{job.error.code} {job.error.message}" if job.error else ""
    return f"{job.filename}\n{tenant}\n{job.id}\n{job.kind}\n{job.phase}\n{error}".casefold()
