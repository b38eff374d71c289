"""A message that comes again has no second effect."""

import asyncio
from datetime import timedelta

import pytest

from archive_bus import Delivery, Reject, Retry
from archive_contracts.base import Problem
from archive_contracts.chat import ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.conformance.backend import Backend, Feature, needs, quick
from archive_testkit.waiting import eventually

STREAM = quick(CHAT_REQUESTS)
WINDOW = timedelta(hours=1)


async def add(backend: Backend, message_id: str) -> None:
    """Add an entry of a message, as a publisher would who sends it again after the window of idempotence."""
    fields = {b"type": ChatRequested.type.encode(), b"id": message_id.encode(), b"data": b'{"body":"{}","model":"m"}'}
    await backend.add(STREAM.physical(), fields)


@pytest.mark.usefixtures("_inbox")
class Remembering:
    """Inbox keys of a group."""

    @pytest.fixture
    def _inbox(self, backend: Backend) -> None:
        needs(backend, Feature.INBOX)

    @pytest.mark.guarantee("G7")
    async def test_repeated_message_does_nothing(self, backend: Backend) -> None:
        seen: list[str] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            seen.append(delivery.envelope.id)

        async with backend.bus("router") as router:
            router.subscribe(STREAM, {ChatRequested: handle}, inbox=WINDOW)
            for name in ("one", "one", "two", "one", "last"):
                await add(backend, name)
            await eventually(lambda: router.counters().get(("chat.requests", "repeated")) == 2)
            await eventually(lambda: "last" in seen)
        assert sorted(seen) == ["last", "one", "two"]

    @pytest.mark.guarantee("G7")
    async def test_repeat_waits_while_the_first_runs(self, backend: Backend) -> None:
        runs: list[int] = []
        release = asyncio.Event()

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            runs.append(delivery.attempt)
            await release.wait()

        async with backend.bus("router") as one, backend.bus("router") as two:
            for bus in (one, two):
                bus.subscribe(STREAM, {ChatRequested: handle}, inbox=WINDOW, concurrency=1, prefetch=1)
            for _ in range(2):
                await add(backend, "same")
            await asyncio.sleep(1.0)
            release.set()
            counts = (one.counters, two.counters)
            await eventually(lambda: sum(each().get(("chat.requests", "repeated"), 0) for each in counts) == 1)
        assert runs == [1]

    @pytest.mark.guarantee("G7")
    async def test_failed_run_leaves_no_trace(self, backend: Backend) -> None:
        attempts: list[int] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            attempts.append(delivery.attempt)
            if delivery.attempt == 1:
                raise Retry("again", delay_s=0.0)

        async with backend.bus("router") as router:
            router.subscribe(STREAM, {ChatRequested: handle}, inbox=WINDOW)
            await add(backend, "one")
            await eventually(lambda: len(attempts) == 2)
        assert attempts == [1, 2]

    @pytest.mark.guarantee("G7")
    async def test_buried_message_may_come_again(self, backend: Backend) -> None:
        seen: list[str] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            seen.append(delivery.envelope.id)
            if len(seen) == 1:
                raise Reject(Problem(code="bad", message="no"))

        async with backend.bus("router") as router:
            router.subscribe(STREAM, {ChatRequested: handle}, inbox=WINDOW)
            await add(backend, "one")
            await eventually(lambda: router.counters().get(("chat.requests", "dead")) == 1)
            await add(backend, "one")
            await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
        assert seen == ["one", "one"]
