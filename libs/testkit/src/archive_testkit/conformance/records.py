"""Journals and broadcasts: streams that are read without a group."""

from datetime import timedelta

import pytest

from archive_bus import JournalConflict, LeaseLost, Origin, clock
from archive_contracts.control import CancelRequested
from archive_contracts.jobs import JobFinished, JobQueued
from archive_contracts.streams import CONTROL, JOBS_JOURNAL, JOBS_QUEUED
from archive_testkit.conformance.backend import Backend, Feature, needs

QUEUED = JobQueued(job_id="j", kind="ingest")
FINISHED = JobFinished(job_id="j", status="done")


class Over:
    """A lease that ended, and whose message another process has taken."""

    def __init__(self) -> None:
        self.until = clock() - 10

    async def confirm(self, *, renew: bool = False) -> None:
        """Know of the end when somebody asks the server alone."""
        if renew:
            raise LeaseLost("another process has it")

    def refuse(self) -> None:
        """Take note."""


class Recording:
    """Appending, folding, following."""

    async def test_journal_is_appended_once(self, backend: Backend) -> None:
        needs(backend, Feature.JOURNALS)
        async with backend.bus("gateway") as bus:
            first = [await bus.append(QUEUED, to=JOBS_JOURNAL, entity="j", id="first") for _ in range(2)]
            await bus.append(FINISHED, to=JOBS_JOURNAL, entity="j")
            entries = await bus.journal(JOBS_JOURNAL, "j")
            rest = await bus.journal(JOBS_JOURNAL, "j", after=first[0])
        assert first[0] == first[1]
        assert [entry.message for entry in entries] == [QUEUED, FINISHED]
        assert [entry.message for entry in rest] == [FINISHED]

    async def test_listing_names_each_journal(self, backend: Backend) -> None:
        needs(backend, Feature.JOURNALS)
        needs(backend, Feature.BROADCASTS)
        async with backend.bus("gateway") as bus:
            for job in ("j", "k"):
                queued = JobQueued(job_id=job, kind="ingest")
                await bus.append(queued, to=JOBS_JOURNAL, entity=job, origin=Origin(tenant="t"))
                await bus.append(JobFinished(job_id=job, status="done"), to=JOBS_JOURNAL, entity=job)
            listed: list[tuple[str, object]] = []
            async for received in bus.follow(JOBS_QUEUED, since=timedelta(minutes=1)):
                if received is None:
                    continue
                listed.append((received.envelope.tenant, received.message))
                if len(listed) == 2:
                    break
        assert listed == [("t", JobQueued(job_id=job, kind="ingest")) for job in ("j", "k")]

    async def test_unexpected_length_conflicts(self, backend: Backend) -> None:
        needs(backend, Feature.JOURNALS)
        async with backend.bus("gateway") as bus:
            await bus.append(QUEUED, to=JOBS_JOURNAL, entity="j", id="first", expected=0)
            with pytest.raises(JournalConflict) as caught:
                await bus.append(FINISHED, to=JOBS_JOURNAL, entity="j", expected=0)
            await bus.append(QUEUED, to=JOBS_JOURNAL, entity="j", id="first", expected=0)
            await bus.append(FINISHED, to=JOBS_JOURNAL, entity="j", expected=1)
            assert len(await bus.journal(JOBS_JOURNAL, "j")) == 2
        assert (caught.value.expected, caught.value.found) == (0, 1)

    async def test_journal_is_followed_as_it_grows(self, backend: Backend) -> None:
        needs(backend, Feature.JOURNALS)
        seen: list[object] = []
        async with backend.bus("gateway") as bus:
            await bus.append(QUEUED, to=JOBS_JOURNAL, entity="j")
            async for received in bus.follow_journal(JOBS_JOURNAL, "j"):
                if received is None:
                    continue
                seen.append(received.message)
                if received.message == FINISHED:
                    break
                await bus.append(FINISHED, to=JOBS_JOURNAL, entity="j")
        assert seen == [QUEUED, FINISHED]

    @pytest.mark.guarantee("G6")
    async def test_broadcast_is_told_once(self, backend: Backend) -> None:
        needs(backend, Feature.BROADCASTS)
        async with backend.bus("gateway") as gateway:
            for name in ("one", "one", "other"):
                await gateway.publish(CancelRequested(target="something"), to=CONTROL, id=name)
        assert [fields[b"id"] for fields in await backend.entries(CONTROL.physical())] == [b"one", b"other"]

    @pytest.mark.guarantee("G3")
    async def test_late_broadcast_is_refused(self, backend: Backend) -> None:
        needs(backend, Feature.BROADCASTS)
        async with backend.bus("gateway") as gateway:
            with pytest.raises(LeaseLost):
                await gateway.publish(CancelRequested(target="something"), to=CONTROL, lease=Over())
        assert await backend.entries(CONTROL.physical()) == []

    async def test_broadcast_reaches_followers(self, backend: Backend) -> None:
        needs(backend, Feature.BROADCASTS)
        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            await gateway.cancel("something")
            async for received in router.follow(CONTROL, since=timedelta(minutes=1)):
                if received:
                    assert received.message == CancelRequested(target="something")
                    break
