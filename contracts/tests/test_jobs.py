"""The fold of a job's journal."""

from hypothesis import given
from hypothesis import strategies as st

from archive_contracts.base import Problem
from archive_contracts.jobs import Job, JobEvent, JobFinished, JobProgressed, JobQueued, fold

EVENTS: st.SearchStrategy[JobEvent] = st.one_of(
    st.builds(JobQueued, job_id=st.just("j"), kind=st.just("ingest")),
    st.builds(
        JobProgressed,
        job_id=st.just("j"),
        phase=st.sampled_from(["queued", "fetching", "extracting", "chunking", "embedding", "done"]),
        pages_done=st.none() | st.integers(0, 9),
        pages_total=st.none() | st.integers(0, 9),
        chunks_done=st.none() | st.integers(0, 9),
        chunks_total=st.none() | st.integers(0, 9),
    ),
    st.builds(JobFinished, job_id=st.just("j"), status=st.sampled_from(["done", "partial", "failed", "cancelled"])),
)


@given(st.lists(EVENTS, max_size=20))
def test_progress_never_runs_backwards(events: list[JobEvent]) -> None:
    job, last = Job(id="j"), 0.0
    for event in events:
        job = job.after(event)
        assert last <= job.progress <= 1
        last = job.progress


@given(st.lists(EVENTS, max_size=20))
def test_nothing_follows_the_end(events: list[JobEvent]) -> None:
    ended = fold("j", [JobFinished(job_id="j", status="cancelled")])
    for event in events:
        ended = ended.after(event)
    assert ended.status == "cancelled"


def test_finished_job_is_complete() -> None:
    job = fold(
        "j",
        [
            JobQueued(job_id="j", kind="ingest", document_id="d", filename="a.pdf"),
            JobProgressed(job_id="j", phase="extracting", pages_done=1, pages_total=2),
            JobProgressed(job_id="j", phase="chunking"),
            JobProgressed(job_id="j", phase="embedding", chunks_done=1, chunks_total=4),
            JobFinished(job_id="j", status="done", pages=2, chunks=4, vectors=5),
        ],
    )
    assert (job.phase, job.progress, job.pages, job.chunks, job.vectors) == ("done", 1.0, 2, 4, 5)


def test_failed_job_keeps_its_reason() -> None:
    problem = Problem(code="corrupt", message="no PDF", next_step="send another")
    job = fold("j", [JobFinished(job_id="j", status="failed", error=problem)])
    assert (job.error, job.progress) == (problem, 0.0)


def test_share_of_a_phase_moves_progress_and_ends_with_the_phase() -> None:
    begun = fold("j", [JobProgressed(job_id="j", phase="chunking", share=0.0)])
    cut = begun.after(JobProgressed(job_id="j", phase="chunking", share=0.5))
    assert begun.progress < cut.progress < begun.after(JobProgressed(job_id="j", phase="embedding")).progress
    assert cut.share == 0.5
    assert cut.after(JobProgressed(job_id="j", phase="embedding")).share is None


def test_waiting_phases_leave_progress() -> None:
    read = JobProgressed(job_id="j", phase="extracting", pages_done=1, pages_total=2)
    job = fold("j", [JobProgressed(job_id="j", phase="fetching"), read, JobProgressed(job_id="j", phase="queued")])
    assert (job.phase, job.progress) == ("queued", 0.2)


def test_event_after_the_end_changes_nothing() -> None:
    ended = JobFinished(job_id="j", status="cancelled")
    assert fold("j", [ended, JobProgressed(job_id="j", phase="chunking")]) == fold("j", [ended])
