"""Publishers are refused before a server is full, and consumers never are."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from bus_peers import CHAT, KEPT, bus_of, client_of, publish_output

from archive_bus import Bus, Busy, Delivery, Limits, NoSuchGroup, Operator, _trimming
from archive_bus._redis import RedisTransport, RedisUrls
from archive_contracts.chat import ChatRequested
from archive_contracts.documents import IngestDocument
from archive_contracts.jobs import JobQueued
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS, DOCUMENT_COMMANDS, JOBS_JOURNAL
from archive_testkit.servers import RedisServer
from archive_testkit.waiting import becomes, eventually

TEN = Limits(depth=10)
INGEST = IngestDocument(job_id="j", document_id="d", blob="", filename="a.txt", size=1)


async def take(delivery: Delivery[ChatRequested]) -> None:
    del delivery


async def fill(bus: Bus, count: int) -> None:
    for _ in range(count):
        await bus.publish(CHAT, to=CHAT_REQUESTS)


async def refusal(bus: Bus, wanted: Callable[[str], bool]) -> str:
    """Publish until it is refused, or not, as wanted; the memory is looked at once a second."""
    async with asyncio.timeout(20):
        while True:
            try:
                await bus.publish(CHAT, to=CHAT_REQUESTS, timeout=2.0)
                told = ""
            except Busy as error:
                told = str(error)
            if wanted(told):
                return told
            await asyncio.sleep(0.05)


@pytest.mark.guarantee("G9")
async def test_depth_refuses_publishers(redis_url: str) -> None:
    async with bus_of("gateway", redis_url, limits=TEN) as gateway, bus_of("router", redis_url) as router:
        await fill(gateway, 10)
        with pytest.raises(Busy, match="10 messages"):
            await gateway.publish(CHAT, to=CHAT_REQUESTS)
        router.subscribe(CHAT_REQUESTS, {ChatRequested: take})
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 10)
        await gateway.publish(CHAT, to=CHAT_REQUESTS)


@pytest.mark.guarantee("G9")
async def test_patient_publisher_waits_for_room(redis_url: str) -> None:
    limits = Limits(depth=10, patience_s=20)

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        await asyncio.sleep(0.01)

    async with bus_of("gateway", redis_url, limits=limits) as gateway, bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle}, concurrency=1)
        async with client_of(redis_url) as client:
            for _ in range(40):
                await gateway.publish(CHAT, to=CHAT_REQUESTS)
                groups = await client.xinfo_groups(CHAT_REQUESTS.physical())
                assert sum(group["lag"] + group["pending"] for group in groups) <= 10
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 40)


@pytest.mark.guarantee("G9")
async def test_retained_messages_do_not_count(redis_url: str) -> None:
    async with bus_of("gateway", redis_url, limits=TEN) as gateway, bus_of("router", redis_url) as router:
        router.subscribe(KEPT, {ChatRequested: take})
        for number in range(30):
            await gateway.publish(CHAT, to=KEPT)
            await eventually(lambda done=number + 1: router.counters().get(("chat.requests", "done")) == done)
        async with client_of(redis_url) as client:
            assert await client.xlen(KEPT.physical()) == 30


@pytest.mark.guarantee("G8")
async def test_stale_group_pins_until_dropped(redis_url: str) -> None:
    async def index(delivery: Delivery[IngestDocument]) -> None:
        del delivery

    key = DOCUMENT_COMMANDS.physical()
    async with (
        bus_of("gateway", redis_url, limits=TEN) as gateway,
        bus_of("librarian", redis_url) as librarian,
        Operator(redis_url, redis_url) as operator,
        client_of(redis_url) as client,
    ):
        librarian.subscribe(DOCUMENT_COMMANDS, {IngestDocument: index})
        for _ in range(10):
            await gateway.publish(INGEST, to=DOCUMENT_COMMANDS)
        await eventually(lambda: librarian.counters().get(("documents.commands", "done")) == 10)
        with pytest.raises(Busy, match="group memory"):
            await gateway.publish(INGEST, to=DOCUMENT_COMMANDS)
        assert await client.xlen(key) == 10
        assert (await operator.drop_group(DOCUMENT_COMMANDS, "memory")).lag == 10
        with pytest.raises(NoSuchGroup):
            await operator.drop_group(DOCUMENT_COMMANDS, "memory")
        async with bus_of("gateway", redis_url) as another:
            await another.publish(INGEST, to=DOCUMENT_COMMANDS)
        assert [group["name"] for group in await client.xinfo_groups(key)] == [b"librarian"]
        async with bus_of("memory", redis_url) as memory:
            memory.subscribe(DOCUMENT_COMMANDS, {IngestDocument: index})
            await eventually(lambda: (memory.counters().get(("documents.commands", "done")) or 0) >= 1)


@pytest.mark.guarantee("G8")
async def test_nearly_full_memory_lets_handlers_finish(redis_server: RedisServer) -> None:
    limits = Limits(memory=0.5)
    async with (
        bus_of("gateway", redis_server.url, limits=limits) as gateway,
        bus_of("router", redis_server.url, limits=limits) as router,
        client_of(redis_server.url) as client,
    ):
        await fill(gateway, 5)
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory", int(used * 1.5))
        assert "of its memory" in await refusal(gateway, bool)
        router.subscribe(CHAT_REQUESTS, {ChatRequested: publish_output})
        await eventually(lambda: (router.counters().get(("chat.requests", "done")) or 0) >= 5)
        assert await client.xlen(CHAT_EVENTS.physical()) >= 5
        await client.config_set("maxmemory", 0)
        assert not await refusal(gateway, lambda told: not told)


@pytest.mark.guarantee("G9")
async def test_depth_counts_the_delayed(redis_url: str) -> None:
    async with bus_of("gateway", redis_url, limits=TEN) as gateway:
        for _ in range(10):
            await gateway.publish(CHAT, to=CHAT_REQUESTS, delay=timedelta(hours=1))
        with pytest.raises(Busy, match="10 delayed"):
            await gateway.publish(CHAT, to=CHAT_REQUESTS, delay=timedelta(hours=1))


@pytest.mark.guarantee("G8")
async def test_nearly_full_memory_refuses_all_but_outputs(redis_server: RedisServer) -> None:
    async with (
        bus_of("gateway", redis_server.url, limits=Limits(memory=0.5)) as gateway,
        client_of(redis_server.url) as client,
    ):
        await fill(gateway, 1)
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory", int(used * 1.5))
        await refusal(gateway, bool)
        with pytest.raises(Busy):
            await gateway.publish(CHAT, to=CHAT_REQUESTS, delay=timedelta(hours=1))
        with pytest.raises(Busy):
            await gateway.append(JobQueued(job_id="j", kind="ingest"), to=JOBS_JOURNAL, entity="j")


@pytest.mark.guarantee("G8")
async def test_patient_append_waits_for_memory(redis_server: RedisServer) -> None:
    async with (
        bus_of("gateway", redis_server.url, limits=Limits(memory=0.5, patience_s=60)) as gateway,
        client_of(redis_server.url) as client,
    ):
        await fill(gateway, 1)
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory", int(used * 1.5))
        await refusal(gateway, bool)
        appending = asyncio.ensure_future(
            gateway.append(JobQueued(job_id="j", kind="ingest"), to=JOBS_JOURNAL, entity="j", timeout=60)
        )
        done, _ = await asyncio.wait([appending], timeout=0.5)
        assert not done
        await client.config_set("maxmemory", 0)
        await asyncio.wait_for(appending, 30)


@pytest.mark.guarantee("G8")
async def test_last_dropped_group_pins_nothing(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trimming, "TRIM_S", 0.1)
    async with (
        bus_of("gateway", redis_url) as gateway,
        Operator(redis_url, redis_url) as operator,
        client_of(redis_url) as client,
    ):
        await fill(gateway, 5)
        await asyncio.sleep(0.5)
        assert await client.xlen(CHAT_REQUESTS.physical()) == 5
        await operator.drop_group(CHAT_REQUESTS, "router")
        await fill(gateway, 5)
        await becomes(lambda: client.xlen(CHAT_REQUESTS.physical()), 0)


@pytest.mark.guarantee("G8")
async def test_drained_consumer_leaves_no_name(redis_url: str) -> None:
    async with client_of(redis_url) as client:
        async with bus_of("router", redis_url) as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: take})
            await fill(router, 3)
            await eventually(lambda: router.counters().get(("chat.requests", "done")) == 3)
            assert await client.xinfo_consumers(CHAT_REQUESTS.physical(), "router")
        assert await client.xinfo_consumers(CHAT_REQUESTS.physical(), "router") == []


@pytest.mark.guarantee("G8")
async def test_slow_group_loses_nothing_to_trimming(redis_url: str) -> None:
    stream = replace(CHAT_REQUESTS, lease=timedelta(seconds=2))
    seen: set[str] = set()

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        await asyncio.sleep(0.02)
        seen.add(delivery.message.model)

    bare = RedisTransport(RedisUrls(bus=redis_url, state=redis_url))
    await bare.start()
    async with bus_of("router", redis_url) as router, asyncio.TaskGroup() as tasks:
        router.subscribe(stream, {ChatRequested: handle}, concurrency=2)

        async def trim() -> None:
            while len(seen) < 200:
                await bare.trim(stream, "0")
                await asyncio.sleep(0.01)

        tasks.create_task(trim())
        for number in range(200):
            await router.publish(CHAT.model_copy(update={"model": str(number)}), to=stream)
        await eventually(lambda: len(seen) == 200)
    await bare.stop()
    assert seen == {str(number) for number in range(200)}
