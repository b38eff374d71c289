"""What happens when a server is killed, emptied or full."""

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from bus_peers import (
    CHAT,
    COMPLETED,
    KEPT,
    QUICK,
    STATS,
    answer_stats,
    bus_of,
    client_of,
    restart,
)

from archive_bus import Bus, BusUnavailable, Busy, Delivery, Reject, Retry, create_streams
from archive_contracts.base import Problem
from archive_contracts.chat import ChatRequested
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS, MEMORY_QUERIES
from archive_testkit.guarantees import Figure
from archive_testkit.servers import RedisServer, free_port
from archive_testkit.waiting import becomes, eventually

KILLS = 5


@pytest.mark.guarantee("G10")
async def test_server_crash_loses_nothing_acknowledged(redis_server: RedisServer, figure: Figure) -> None:
    seen: list[str] = []
    accepted: list[str] = []
    resumed_s: list[float] = []
    enough = asyncio.Event()

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.envelope.id)

    async def publish(gateway: Bus) -> None:
        while not enough.is_set():
            accepted.append(await gateway.publish(CHAT, to=KEPT))
            await asyncio.sleep(0.01)

    async with bus_of("gateway", redis_server.url) as gateway, bus_of("router", redis_server.url) as router:
        router.subscribe(replace(KEPT, lease=timedelta(seconds=2)), {ChatRequested: handle})
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(publish(gateway))
            for _ in range(KILLS):
                await asyncio.sleep(0.3)
                await restart(redis_server)
                back, before = time.monotonic(), len(seen)
                await eventually(lambda before=before: len(seen) > before)
                resumed_s.append(time.monotonic() - back)
            enough.set()
        await eventually(lambda: set(seen) >= set(accepted), within=60)
        async with client_of(redis_server.url) as client:
            assert await client.xlen(KEPT.physical()) == len(set(accepted))
    figure("kills", KILLS)
    figure("lost", len(set(accepted) - set(seen)))
    figure("resumes after", max(resumed_s), "s")


@pytest.mark.guarantee("G5")
async def test_failure_in_an_outage_is_counted(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_bus._redis.connections.SETTLE_TIMEOUT_S", 1.0)
    stream, runs = replace(KEPT, lease=timedelta(seconds=1), attempts=2), list[int]()

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        runs.append(delivery.attempt)
        if len(runs) == 1:
            await asyncio.to_thread(redis_server.kill)
        raise ValueError("it fails each time")

    async with bus_of("gateway", redis_server.url) as gateway, bus_of("router", redis_server.url) as router:
        router.subscribe(stream, {ChatRequested: handle})
        await gateway.publish(CHAT, to=stream)
        await eventually(lambda: bool(runs))
        await asyncio.sleep(3.5)
        await asyncio.to_thread(redis_server.start)
        await eventually(lambda: router.counters().get((stream.name, "dead")) == 1, within=60)
    assert runs == [1, 2]


@pytest.mark.guarantee("G5")
async def test_outages_add_no_attempt(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_bus._redis.connections.SETTLE_TIMEOUT_S", 1.0)
    stream, runs = replace(KEPT, attempts=1), list[int]()

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        runs.append(delivery.attempt)
        if len(runs) == 1:
            await asyncio.sleep(0.1)  # its start is counted
            await asyncio.to_thread(redis_server.kill)
            await delivery.publish(COMPLETED, to=CHAT_EVENTS)

    async with (
        bus_of("gateway", redis_server.url) as gateway,
        bus_of("router", redis_server.url, patience_s=0.3) as router,
    ):
        router.subscribe(stream, {ChatRequested: handle})
        await gateway.publish(CHAT, to=stream)
        await eventually(lambda: bool(runs))
        await asyncio.sleep(3.5)
        await asyncio.to_thread(redis_server.start)
        await eventually(lambda: router.counters().get((stream.name, "done")) == 1)
    assert runs == [1, 1]


@pytest.mark.guarantee("G10")
async def test_demoted_master_ends_nobody(redis_server: RedisServer) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.message.model)

    async with bus_of("gateway", redis_server.url) as gateway, bus_of("router", redis_server.url) as router:
        router.subscribe(KEPT, {ChatRequested: handle})
        await gateway.publish(CHAT, to=KEPT)
        await eventually(lambda: len(seen) == 1)
        async with client_of(redis_server.url) as client:
            await client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
            await asyncio.sleep(2.5)  # all that blocks is told by then
            await client.execute_command("REPLICAOF", "NO", "ONE")
        await gateway.publish(CHAT, to=KEPT)
        await eventually(lambda: len(seen) == 2)
    assert seen == ["m", "m"]


async def test_outage_is_told_from_silence(redis_server: RedisServer) -> None:
    async with bus_of("router", redis_server.url) as bus, asyncio.timeout(60):
        assert await bus.reachable()
        await asyncio.to_thread(redis_server.kill)
        assert not await bus.reachable()
        await asyncio.to_thread(redis_server.start)
        while not await bus.reachable():
            await asyncio.sleep(0.05)


@pytest.mark.guarantee("G6")
async def test_publish_waits_through_an_outage(redis_server: RedisServer) -> None:
    async with bus_of("gateway", redis_server.url) as gateway, asyncio.TaskGroup() as tasks:
        await gateway.publish(CHAT, to=KEPT)
        await asyncio.to_thread(redis_server.kill)
        waiting = [tasks.create_task(gateway.publish(CHAT, to=KEPT, id=f"id-{n}")) for n in range(50)]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in waiting)
        await asyncio.to_thread(redis_server.start)
        await asyncio.gather(*waiting)
        async with client_of(redis_server.url) as client:
            assert await client.xlen(KEPT.physical()) == 51


@pytest.mark.guarantee("G10")
async def test_deleted_stream_heals(redis_url: str) -> None:
    began, release = asyncio.Event(), asyncio.Event()
    seen: list[str] = []
    stream = replace(CHAT_REQUESTS, lease=timedelta(seconds=3))

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.message.model)
        began.set()
        await release.wait()

    async with (
        bus_of("gateway", redis_url) as gateway,
        bus_of("router", redis_url) as router,
        client_of(redis_url) as client,
    ):
        router.subscribe(stream, {ChatRequested: handle})
        await gateway.publish(CHAT, to=stream)
        await began.wait()
        await client.delete(stream.physical())
        await asyncio.sleep(1.5)  # the lease of what is gone is renewed meanwhile, in vain
        release.set()
        for model in ("after", "later"):
            await gateway.publish(CHAT.model_copy(update={"model": model}), to=stream)
        await eventually(lambda: len(seen) == 3)
        assert sorted(seen) == ["after", "later", "m"]


@pytest.mark.guarantee("G10")
async def test_destroyed_group_leaves_no_past(redis_url: str) -> None:
    stream = replace(CHAT_REQUESTS, lease=timedelta(minutes=5))
    past = [f"{stream.physical()}:router:{name}" for name in ("runs", "parked")]
    attempts: list[int] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) == 1:
            raise Retry("once more", delay_s=0.0)

    async with bus_of("router", redis_url) as router, client_of(redis_url) as client:
        await router.publish(CHAT, to=stream)
        ((entry, _),) = await client.xrange(stream.physical())
        await client.xgroup_destroy(stream.physical(), "router")
        await client.hset(past[0], entry, "before ")
        await client.zadd(past[1], {entry: (time.time() + 3600) * 1000})
        router.subscribe(stream, {ChatRequested: handle})
        await eventually(lambda: router.counters().get((stream.name, "done")) == 1)
        await becomes(lambda: client.exists(*past), 0)
    assert attempts == [1, 2]


@pytest.mark.guarantee("G10")
async def test_flushed_server_heals(redis_url: str) -> None:
    runs: list[str] = []

    async def handle(delivery: Delivery[GetLibraryStats]) -> None:
        runs.append(delivery.envelope.id)
        await delivery.reply(STATS)

    async with (
        bus_of("gateway", redis_url) as gateway,
        bus_of("memory", redis_url) as memory,
        client_of(redis_url) as client,
    ):
        memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: handle})
        await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES)
        await client.script_flush()
        await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES)
        await client.flushall()
        await gateway.publish(GetLibraryStats(), to=MEMORY_QUERIES, id="after")
        await eventually(lambda: len(runs) == 3)
    assert runs[-1] == "after"


@pytest.mark.guarantee("G10")
async def test_lost_state_server_comes_back(redis_url: str, state_server: RedisServer) -> None:
    async with (
        bus_of("gateway", redis_url, state=state_server.url) as gateway,
        bus_of("memory", redis_url, state=state_server.url) as memory,
    ):
        memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: answer_stats})
        assert await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES) == STATS
        await restart(state_server, away_s=0.5)
        async with asyncio.timeout(20):
            while True:
                # The answer to the first may find no reply stream yet: that caller is told, by its deadline.
                with contextlib.suppress(TimeoutError, BusUnavailable):
                    async with asyncio.timeout(1):
                        answer = await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES)
                    break
        assert answer == STATS


@pytest.mark.guarantee("G8")
async def test_full_memory_blocks_no_consumer(redis_server: RedisServer) -> None:
    release = asyncio.Event()
    began: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        began.append(delivery.message.model)
        await release.wait()
        if delivery.message.model == "bad":
            raise Reject(Problem(code="bad", message="bad"))

    async with (
        bus_of("gateway", redis_server.url) as gateway,
        bus_of("router", redis_server.url) as router,
        client_of(redis_server.url) as client,
    ):
        router.subscribe(QUICK, {ChatRequested: handle})
        for model in ("good", "bad"):
            await gateway.publish(CHAT.model_copy(update={"model": model}), to=QUICK)
        await eventually(lambda: len(began) == 2)
        await client.config_set("maxmemory", 1)
        release.set()
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
        with pytest.raises(Busy, match="memory"):
            await gateway.publish(CHAT, to=QUICK)
        await client.config_set("maxmemory", 0)
        dead = f"{QUICK.physical()}:router:dead"
        async with asyncio.timeout(20):
            while not await client.xlen(dead):
                await asyncio.sleep(0.05)


@pytest.mark.guarantee("G10")
@pytest.mark.parametrize("group", ["absent", "there"])
async def test_full_memory_ends_no_process(redis_server: RedisServer, group: str) -> None:
    async with client_of(redis_server.url) as client:
        if group == "there":
            await create_streams(redis_server.url)
        await client.config_set("maxmemory", 1)
        async with bus_of("gateway", redis_server.url) as gateway, bus_of("memory", redis_server.url) as memory:
            memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: answer_stats})
            await asyncio.sleep(0.5)  # both ask for their reply streams meanwhile, and are refused
            await client.config_set("maxmemory", 0)
            assert await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES) == STATS


@pytest.mark.guarantee("G5")
@pytest.mark.parametrize("end", ["raises", "rejects", "returns"])
async def test_full_memory_adds_no_attempt(redis_server: RedisServer, end: str) -> None:
    stream, runs = replace(QUICK, attempts=1), 0

    async with bus_of("router", redis_server.url) as router, client_of(redis_server.url) as client:

        async def handle(delivery: Delivery[ChatRequested]) -> Any:
            nonlocal runs
            del delivery
            runs += 1
            await client.config_set("maxmemory", 1)
            if end == "raises":
                raise ValueError("poison")
            if end == "rejects":
                raise Reject(Problem(code="bad", message="bad"))
            return "what nobody takes"

        router.subscribe(stream, {ChatRequested: handle})
        await router.publish(CHAT, to=stream)
        await eventually(lambda: router.counters().get(("chat.requests", "dead")) == 1)
        assert await client.xlen(f"{QUICK.physical()}:router:dead") == 1
        assert (await client.xpending(QUICK.physical(), "router"))["pending"] == 0
    assert runs == 1
