"""What is delayed is seen when it is due: not before, once, and in the order of its times."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from archive_bus import Delivery, NotInMap
from archive_contracts.chat import ChatRequested
from archive_contracts.control import CancelRequested
from archive_contracts.engine import EmbedRequested
from archive_contracts.streams import CHAT_REQUESTS, CONTROL, ENGINE_JOBS
from archive_testkit.conformance.backend import Backend, Feature, needs
from archive_testkit.waiting import eventually

CHAT = ChatRequested(body="{}", model="m")
JOB = EmbedRequested(texts=("text",))


def chat(model: str) -> ChatRequested:
    """Return a message that is told from others."""
    return CHAT.model_copy(update={"model": model})


@pytest.mark.usefixtures("_timers")
class Delaying:
    """Timers beside a stream."""

    @pytest.fixture
    def _timers(self, backend: Backend) -> None:
        needs(backend, Feature.TIMERS)

    @pytest.mark.guarantee("G14")
    async def test_delayed_message_waits_its_time(self, backend: Backend) -> None:
        seen: dict[str, float] = {}

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            seen[delivery.message.model] = time.time()

        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            sent = time.time()
            due = datetime.now(UTC) + timedelta(seconds=0.6)
            await gateway.publish(chat("at"), to=CHAT_REQUESTS, at=due)
            await gateway.publish(chat("after"), to=CHAT_REQUESTS, delay=timedelta(seconds=0.3))
            await gateway.publish(chat("now"), to=CHAT_REQUESTS)
            await eventually(lambda: len(seen) == 3)
        assert seen["after"] >= sent + 0.3
        assert seen["at"] >= due.timestamp()

    @pytest.mark.guarantee("G14")
    async def test_past_time_is_due_at_once(self, backend: Backend) -> None:
        seen: list[str] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            seen.append(delivery.message.model)

        async with backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            await router.publish(chat("m"), to=CHAT_REQUESTS, at=datetime(2000, 1, 1, tzinfo=UTC))
            await eventually(lambda: bool(seen))
        assert seen == ["m"]

    @pytest.mark.guarantee("G14")
    async def test_delayed_id_counts_once(self, backend: Backend) -> None:
        seen: list[str] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            seen.append(delivery.message.model)

        soon = timedelta(seconds=0.2)
        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            for model in ("first", "second"):
                await gateway.publish(chat(model), to=CHAT_REQUESTS, delay=soon, id="the-id")
            await gateway.publish(chat("third"), to=CHAT_REQUESTS, id="the-id")
            await eventually(lambda: bool(seen))
            await gateway.publish(chat("fourth"), to=CHAT_REQUESTS, delay=soon, id="the-id")
            await gateway.publish(chat("last"), to=CHAT_REQUESTS, delay=2 * soon)
            await eventually(lambda: "last" in seen)
        assert seen == ["first", "last"]

    @pytest.mark.guarantee("G14")
    async def test_timer_outlives_its_publisher(self, backend: Backend) -> None:
        seen: list[str] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            seen.append(delivery.message.model)

        async with backend.bus("gateway") as gateway:
            await gateway.publish(chat("m"), to=CHAT_REQUESTS, delay=timedelta(seconds=0.2))
        await asyncio.sleep(0.3)
        async with backend.bus("router") as router, backend.bus("gateway"):
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            await eventually(lambda: bool(seen))
        assert seen == ["m"]

    @pytest.mark.guarantee("G14")
    async def test_reader_of_a_lane_keeps_its_time(self, backend: Backend) -> None:
        seen: list[str] = []

        async def handle(delivery: Delivery[EmbedRequested]) -> None:
            seen.append(delivery.envelope.id)

        async with backend.bus("router") as router:
            await router.publish(JOB, to=ENGINE_JOBS, partition="small", delay=timedelta(seconds=0.2), id="timer")
        async with backend.bus("engine") as engine:
            engine.subscribe(ENGINE_JOBS, {EmbedRequested: handle}, partition="small")
            await eventually(lambda: bool(seen), within=60)
        assert seen == ["timer"]

    @pytest.mark.guarantee("G14")
    async def test_writer_to_a_lane_keeps_its_time(self, backend: Backend) -> None:
        lane = ENGINE_JOBS.physical("small")
        async with backend.bus("router") as gone:
            await gone.publish(JOB, to=ENGINE_JOBS, partition="small", delay=timedelta(seconds=0.2))
        async with backend.bus("router") as router:
            await router.publish(JOB, to=ENGINE_JOBS, partition="small")
            async with asyncio.timeout(60):
                while len(entries := await backend.entries(lane)) < 2:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.02)
        assert len({entry[b"id"] for entry in entries}) == 2

    @pytest.mark.guarantee("G14")
    async def test_publisher_alone_keeps_the_time(self, backend: Backend) -> None:
        async with backend.bus("gateway") as gateway:
            await gateway.publish(chat("m"), to=CHAT_REQUESTS, delay=timedelta(seconds=0.1))
            assert await backend.entries(CHAT_REQUESTS.physical()) == []
            async with asyncio.timeout(10):
                while not await backend.entries(CHAT_REQUESTS.physical()):  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.02)

    @pytest.mark.guarantee("G14")
    async def test_broadcast_takes_no_delay(self, backend: Backend) -> None:
        async with backend.bus("gateway") as gateway:
            with pytest.raises(NotInMap):
                await gateway.publish(CancelRequested(target="x"), to=CONTROL, delay=timedelta(seconds=1))
