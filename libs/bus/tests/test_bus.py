"""The bus on a real server: publish, handle, request, reply, journal, follow, cancel."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from archive_bus import (
    Bus,
    BusOptions,
    BusUnavailable,
    Delivery,
    NotInMap,
    Reject,
    RequestFailed,
    RequestTimeout,
    connect,
)
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.control import CancelRequested
from archive_contracts.jobs import JobFinished, JobQueued, fold
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS, CONTROL, JOBS_JOURNAL, MEMORY_QUERIES
from archive_testkit.servers import free_port

NAMES = LibraryStats(documents=1, chunks=2, vectors=3, memories=4)


def bus_of(service: str, url: str, *, grace_s: float = 2.0) -> Bus:
    return connect(url, url, BusOptions(service=service, grace_s=grace_s))


async def eventually(true: Callable[[], bool], within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.01)


async def test_publish_before_start_is_handled(redis_url: str) -> None:
    async with bus_of("gateway", redis_url) as gateway:
        await gateway.publish(ChatRequested(body="{}", model="m"), to=CHAT_REQUESTS)
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.message.model)

    async with bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        await eventually(lambda: seen == ["m"])


async def test_same_id_publishes_once(redis_url: str) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.message.model)

    async with bus_of("gateway", redis_url) as gateway, bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        for _ in range(3):
            await gateway.publish(ChatRequested(body="{}", model="one"), to=CHAT_REQUESTS, id="the-id")
        await gateway.publish(ChatRequested(body="{}", model="last"), to=CHAT_REQUESTS)
        await eventually(lambda: "last" in seen)
    assert seen == ["one", "last"]


async def test_request_gets_typed_answer(redis_url: str) -> None:
    async def handle(delivery: Delivery[GetLibraryStats]) -> None:
        await delivery.reply(NAMES)

    async with bus_of("gateway", redis_url) as gateway, bus_of("memory", redis_url) as memory:
        memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: handle})
        assert await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES) == NAMES


async def test_rejected_request_fails_typed(redis_url: str) -> None:
    async def handle(delivery: Delivery[GetLibraryStats]) -> None:
        raise Reject(Problem(code="nothing_there", message="no library", status=404))

    async with bus_of("gateway", redis_url) as gateway, bus_of("memory", redis_url) as memory:
        memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: handle})
        with pytest.raises(RequestFailed) as caught:
            await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES)
    assert caught.value.problem().code == "nothing_there"


async def test_unanswered_request_times_out(redis_url: str) -> None:
    async with bus_of("gateway", redis_url) as gateway:
        with pytest.raises(RequestTimeout):
            await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES, timeout=0.2)


async def test_expired_request_never_starts(redis_url: str) -> None:
    started: list[str] = []

    async def handle(delivery: Delivery[GetLibraryStats]) -> None:
        started.append(delivery.envelope.id)

    async with bus_of("gateway", redis_url) as gateway:
        with pytest.raises(RequestTimeout):
            await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES, timeout=0.05)
        async with bus_of("memory", redis_url) as memory:
            memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: handle})
            await eventually(lambda: memory.counters().get(("memory.queries", "expired")) == 1)
    assert started == []


async def test_streamed_replies_keep_order(redis_url: str) -> None:
    async def handle(delivery: Delivery[ChatRequested]) -> None:
        for number in range(500):
            _ = delivery.emit(ChatDelta(body=str(number)))
        await delivery.reply(ChatCompleted(engine="e", pool="p", model="m"))

    got: list[str] = []
    async with bus_of("gateway", redis_url) as gateway, bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        async with gateway.open(ChatRequested(body="{}", model="m"), to=CHAT_REQUESTS) as call:
            while isinstance(reply := await call.next(), ChatDelta):
                got.append(reply.body)
    assert got == [str(number) for number in range(500)]


async def test_failed_attempts_end_in_dead_letters(redis_url: str) -> None:
    attempts: list[int] = []

    async def handle(delivery: Delivery[GetLibraryStats]) -> None:
        attempts.append(delivery.attempt)
        raise ValueError("poison")

    async with bus_of("gateway", redis_url) as gateway, bus_of("memory", redis_url) as memory:
        memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: handle})
        with pytest.raises(RequestFailed):
            await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES)
        await eventually(lambda: memory.counters().get(("memory.queries", "dead")) == 1)
    assert attempts == [1, 2]


async def test_drained_messages_go_to_others(redis_url: str) -> None:
    first_got, second_got = asyncio.Event(), asyncio.Event()

    async def hang(delivery: Delivery[GetLibraryStats]) -> None:
        first_got.set()
        await asyncio.sleep(60)

    async def answer(delivery: Delivery[GetLibraryStats]) -> None:
        second_got.set()
        assert delivery.attempt == 1

    async with bus_of("gateway", redis_url) as gateway:
        async with bus_of("memory", redis_url, grace_s=0.1) as one:
            one.subscribe(MEMORY_QUERIES, {GetLibraryStats: hang})
            await gateway.publish(GetLibraryStats(), to=MEMORY_QUERIES)
            await first_got.wait()
        async with bus_of("memory", redis_url) as two:
            two.subscribe(MEMORY_QUERIES, {GetLibraryStats: answer})
            async with asyncio.timeout(5):
                await second_got.wait()


async def test_cancel_reaches_the_running_block(redis_url: str) -> None:
    began = asyncio.Event()
    outcome: list[bool] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        began.set()
        with delivery.cancellable() as scope:
            await asyncio.sleep(60)
        outcome.append(scope.cancelled_caught)

    async with bus_of("gateway", redis_url) as gateway, bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        target = await gateway.publish(ChatRequested(body="{}", model="m"), to=CHAT_REQUESTS)
        await began.wait()
        await gateway.cancel(target)
        await eventually(lambda: outcome == [True])
        assert await router.cancelled(target)


async def test_journal_is_appended_once_and_folds(redis_url: str) -> None:
    async with bus_of("gateway", redis_url) as bus:
        for _ in range(2):
            await bus.append(JobQueued(job_id="j", kind="ingest"), to=JOBS_JOURNAL, entity="j", id="first")
        await bus.append(JobFinished(job_id="j", status="done"), to=JOBS_JOURNAL, entity="j")
        entries = await bus.journal(JOBS_JOURNAL, "j")
    assert len(entries) == 2
    assert fold("j", [entry.message for entry in entries]).status == "done"  # type: ignore[misc]


async def test_broadcast_reaches_followers(redis_url: str) -> None:
    async with bus_of("gateway", redis_url) as gateway, bus_of("router", redis_url) as router:
        await gateway.cancel("something")
        async for received in router.follow(CONTROL, since=timedelta(minutes=1)):
            if received:
                assert received.message == CancelRequested(target="something")
                break


async def test_wrong_stream_is_refused(redis_url: str) -> None:
    async with bus_of("gateway", redis_url) as gateway:
        with pytest.raises(NotInMap):
            await gateway.publish(GetLibraryStats(), to=CHAT_EVENTS)


async def test_absent_server_is_said_quickly() -> None:
    async with bus_of("gateway", f"redis://127.0.0.1:{free_port()}/0") as gateway:
        with pytest.raises(BusUnavailable):
            await gateway.publish(GetLibraryStats(), to=MEMORY_QUERIES, timeout=0.3)
