"""Long work, followed through its journal: one stream a job, whose fold is the job's state."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archive_contracts.base import Message, Model, Problem

JobStatus = Literal["queued", "running", "done", "partial", "failed", "cancelled"]
Phase = Literal["queued", "fetching", "extracting", "chunking", "embedding", "done"]
TERMINAL: frozenset[JobStatus] = frozenset({"done", "partial", "failed", "cancelled"})


class JobQueued(Message):
    """A job was accepted."""

    type: ClassVar[str] = "job.queued.v1"
    job_id: str
    kind: str
    document_id: str = ""
    filename: str = ""
    tenant: str = "default"


class JobProgressed(Message):
    """A job moved on. Counts are of the whole document; what is not known yet is None."""

    type: ClassVar[str] = "job.progressed.v1"
    job_id: str
    phase: Phase
    pages_done: int | None = None
    pages_total: int | None = None
    chunks_total: int | None = None
    chunks_done: int | None = None
    vectors_done: int | None = None
    share: Annotated[float | None, Field(ge=0, le=1, description="Of the phase, where no count tells.")] = None
    eta_s: Annotated[float | None, Field(ge=0, description="Seconds left of the phase.")] = None


class JobFinished(Message):
    """A job ended; nothing follows."""

    type: ClassVar[str] = "job.finished.v1"
    job_id: str
    status: Literal["done", "partial", "failed", "cancelled"]
    pages: int = 0
    chunks: int = 0
    vectors: int = 0
    bad_pages: tuple[int, ...] = ()
    duplicate: bool = False
    error: Problem | None = None


JobEvent = JobQueued | JobProgressed | JobFinished


class Job(Model):
    """The state of a job: a fold of its journal."""

    id: str
    kind: str = ""
    status: JobStatus = "queued"
    phase: Phase = "queued"
    progress: Annotated[float, Field(ge=0, le=1)] = 0.0
    share: float | None = None
    eta_s: float | None = None
    error: Problem | None = None
    document_id: str = ""
    filename: str = ""
    pages: int | None = None
    pages_done: int | None = None
    chunks: int | None = None
    chunks_done: int | None = None
    vectors: int | None = None
    bad_pages: tuple[int, ...] = ()
    duplicate: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in TERMINAL

    def after(self, event: JobEvent) -> "Job":
        """Return the job after one more event; what comes after the end changes nothing."""
        if self.ended:
            return self
        match event:
            case JobQueued():
                return self.model_copy(
                    update={"kind": event.kind, "document_id": event.document_id, "filename": event.filename}
                )
            case JobProgressed():
                return self._progressed(event)
            case _:
                return self._finished(event)

    def _progressed(self, event: JobProgressed) -> "Job":
        counts = {
            "pages": event.pages_total,
            "pages_done": event.pages_done,
            "chunks": event.chunks_total,
            "chunks_done": event.chunks_done,
            "vectors": event.vectors_done,
        }
        update: dict[str, object] = {name: value for name, value in counts.items() if value is not None}
        update |= {"status": "running", "phase": event.phase, "share": event.share, "eta_s": event.eta_s}
        moved = self.model_copy(update=update)
        # Batches of one job are embedded side by side and report out of order: progress never runs backwards.
        return moved.model_copy(update={"progress": max(self.progress, _share(moved))})

    def _finished(self, event: JobFinished) -> "Job":
        ended = {
            "status": event.status,
            "share": None,
            "eta_s": None,
            "error": event.error,
            "bad_pages": event.bad_pages,
            "duplicate": event.duplicate,
        }
        if event.status in {"done", "partial"}:
            ended |= {
                "phase": "done",
                "progress": 1.0,
                "pages": event.pages,
                "pages_done": event.pages,
                "chunks": event.chunks,
                "chunks_done": event.chunks,
                "vectors": event.vectors,
            }
        return self.model_copy(update=ended)


def _share(job: Job) -> float:
    """Return progress in [0, 1]: reading and cutting are counted as the first half, embedding as the second."""
    match job.phase:
        case "extracting":
            return 0.4 * min(1.0, (job.pages_done or 0) / job.pages) if job.pages else 0.0
        case "chunking":
            return 0.4 + 0.1 * (job.share or 0.0)
        case "embedding":
            return 0.5 + (0.5 * min(1.0, (job.chunks_done or 0) / job.chunks) if job.chunks else 0.0)
        case _:
            return job.progress


def fold(job_id: str, events: Iterable[JobEvent]) -> Job:
    """Return the job that these events, in their order, describe."""
    job = Job(id=job_id)
    for event in events:
        job = job.after(event)
    return job
