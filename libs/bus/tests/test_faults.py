"""What a real server and real processes do to the bus when they fail."""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from archive_bus import Bus, BusOptions, BusUnavailable, Delivery, Origin, Reject, connect
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS, MEMORY_QUERIES, REPLIES
from archive_testkit.servers import RedisServer

CHAT = ChatRequested(body="{}", model="m")
STATS = LibraryStats(documents=1, chunks=2, vectors=3, memories=4)
COMPLETED = ChatCompleted(engine="e", pool="p", model="m")
KEPT = replace(CHAT_REQUESTS, retention=timedelta(hours=1))
QUICK = replace(CHAT_REQUESTS, lease=timedelta(seconds=1))


def bus_of(service: str, url: str, *, state: str = "", grace_s: float = 2.0) -> Bus:
    return connect(url, state or url, BusOptions(service=service, grace_s=grace_s))


def client_of(url: str) -> Any:
    return Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs


async def eventually(true: Callable[[], bool], within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.01)


async def heard(worker: Process, word: str) -> None:
    assert worker.stdout
    async with asyncio.timeout(30):
        while (line := await worker.stdout.readline()).strip() != word.encode():
            assert line, f"the worker ended before it said {word!r}"


@contextlib.asynccontextmanager
async def worker_on(url: str, *, lease_s: float) -> AsyncGenerator[Process, None]:
    script = Path(__file__).parent / "apps" / "worker.py"
    worker = await asyncio.create_subprocess_exec(sys.executable, str(script), url, str(lease_s), stdout=PIPE)
    try:
        yield worker
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.communicate()


@pytest.fixture
def state_server() -> Iterator[RedisServer]:
    """A second server, for the state role, that forgets everything when it is killed."""
    server = RedisServer().start()
    yield server
    server.stop()


async def restart(server: RedisServer, *, away_s: float = 0.0) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(away_s)
    await asyncio.to_thread(server.start)


async def publish_output(delivery: Delivery[ChatRequested]) -> None:
    await delivery.publish(COMPLETED, to=CHAT_EVENTS)


async def answer_stats(delivery: Delivery[GetLibraryStats]) -> None:
    await delivery.reply(STATS)


async def test_killed_worker_is_replaced(redis_url: str) -> None:
    async with bus_of("router", redis_url) as router, client_of(redis_url) as client:
        async with worker_on(redis_url, lease_s=1) as worker:
            await router.publish(CHAT, to=QUICK)
            await heard(worker, "began")
            worker.kill()
            await worker.wait()
        router.subscribe(QUICK, {ChatRequested: publish_output})
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
        assert await client.xlen(CHAT_EVENTS.physical()) == 1
        assert (await client.xpending(QUICK.physical(), "router"))["pending"] == 0


async def test_terminated_worker_hands_back(redis_url: str) -> None:
    attempts: list[int] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        attempts.append(delivery.attempt)

    async with bus_of("router", redis_url) as router:
        async with worker_on(redis_url, lease_s=600) as worker:
            for _ in range(12):
                await router.publish(CHAT, to=CHAT_REQUESTS)
            await heard(worker, "began")
            worker.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(worker.wait(), 20) == 0
        router.subscribe(replace(CHAT_REQUESTS, lease=timedelta(seconds=600)), {ChatRequested: handle})
        await eventually(lambda: len(attempts) == 12)
    assert set(attempts) == {1}


async def test_repeated_drains_strand_nothing(redis_url: str) -> None:
    stream = replace(CHAT_REQUESTS, lease=timedelta(seconds=600))
    sent: list[str] = []
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        await asyncio.sleep(0.001)
        seen.append(delivery.envelope.id)

    async def publish(gateway: Bus) -> None:
        while True:
            sent.append(await gateway.publish(CHAT, to=stream))
            await asyncio.sleep(0.001)

    async with bus_of("gateway", redis_url) as gateway, asyncio.TaskGroup() as tasks:
        publishing = tasks.create_task(publish(gateway))
        for _ in range(25):
            async with bus_of("router", redis_url) as router:
                router.subscribe(stream, {ChatRequested: handle}, concurrency=4)
                await asyncio.sleep(0.06)
        publishing.cancel()
    async with bus_of("router", redis_url) as router:
        router.subscribe(stream, {ChatRequested: handle})
        await eventually(lambda: set(sent) <= set(seen))
    assert len(seen) == len(set(seen))


async def test_frozen_worker_loses_its_message(redis_url: str) -> None:
    async with bus_of("router", redis_url) as router, worker_on(redis_url, lease_s=1) as worker:
        await router.publish(CHAT, to=QUICK)
        await heard(worker, "began")
        worker.send_signal(signal.SIGSTOP)
        router.subscribe(QUICK, {ChatRequested: publish_output})
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
        worker.send_signal(signal.SIGCONT)
        await heard(worker, "cancelled")


async def test_server_crash_loses_nothing_acknowledged(redis_server: RedisServer) -> None:
    seen: list[str] = []
    accepted: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.envelope.id)

    async def publish(gateway: Bus) -> None:
        for _ in range(150):
            accepted.append(await gateway.publish(CHAT, to=KEPT))
            await asyncio.sleep(0.01)

    async with bus_of("gateway", redis_server.url) as gateway, bus_of("router", redis_server.url) as router:
        router.subscribe(replace(KEPT, lease=timedelta(seconds=2)), {ChatRequested: handle})
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(publish(gateway))
            for _ in range(2):
                await asyncio.sleep(0.4)
                await restart(redis_server)
        await eventually(lambda: set(seen) == set(accepted))
        async with client_of(redis_server.url) as client:
            assert await client.xlen(KEPT.physical()) == len(accepted) == 300


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


async def test_cut_connections_double_no_publish(redis_url: str) -> None:
    async with bus_of("gateway", redis_url) as gateway, client_of(redis_url) as client:
        async with asyncio.TaskGroup() as tasks:
            for number in range(400):
                tasks.create_task(gateway.publish(CHAT, to=KEPT, id=f"id-{number}"))
                if number % 40 == 0:
                    await asyncio.sleep(0.001)
                    await client.client_kill_filter(_type="normal", skipme=True)
        assert await client.xlen(KEPT.physical()) == 400


async def deltas_while(cut: Callable[[], Awaitable[None]], url: str, state: str, *, each: int = 50) -> list[str]:
    """Return what a caller hears of 300 deltas while something happens after every ``each`` of them."""

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        for number in range(300):
            _ = delivery.emit(ChatDelta(body=str(number)))
            if number % each == each - 1:
                await cut()
        await delivery.reply(COMPLETED)

    got: list[str] = []
    async with bus_of("gateway", url, state=state) as gateway, bus_of("router", url, state=state) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        async with gateway.open(CHAT, to=CHAT_REQUESTS, timeout=60) as call:
            while isinstance(reply := await call.next(), ChatDelta):
                got.append(reply.body)
    return got


async def test_cut_connections_double_no_delta(redis_url: str) -> None:
    async with client_of(redis_url) as client:

        async def cut() -> None:
            await client.client_kill_filter(_type="normal", skipme=True)

        assert await deltas_while(cut, redis_url, redis_url) == [str(number) for number in range(300)]


async def test_frozen_state_server_doubles_no_delta(redis_url: str, state_server: RedisServer) -> None:
    async def freeze() -> None:
        state_server.pause()
        await asyncio.sleep(3.5)  # longer than the sockets wait: what was written is written again
        state_server.resume()

    got = await deltas_while(freeze, redis_url, state_server.url, each=200)
    assert got == [str(number) for number in range(300)]


async def test_deleted_stream_heals(redis_url: str) -> None:
    began, release = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.message.model)
        began.set()
        await release.wait()

    async with (
        bus_of("gateway", redis_url) as gateway,
        bus_of("router", redis_url) as router,
        client_of(redis_url) as client,
    ):
        router.subscribe(QUICK, {ChatRequested: handle})
        await gateway.publish(CHAT, to=QUICK)
        await began.wait()
        await client.delete(QUICK.physical())
        await asyncio.sleep(1.0)  # the lease of what is gone is renewed meanwhile, in vain
        release.set()
        for model in ("after", "later"):
            await gateway.publish(CHAT.model_copy(update={"model": model}), to=QUICK)
        await eventually(lambda: seen == ["m", "after", "later"])


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


async def test_frozen_server_is_noticed(redis_server: RedisServer) -> None:
    async with bus_of("gateway", redis_server.url) as gateway, bus_of("memory", redis_server.url) as memory:
        memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: answer_stats})
        await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES)
        redis_server.pause()
        assert await gateway.check() == "the bus server does not answer"
        with pytest.raises(BusUnavailable):
            await gateway.publish(GetLibraryStats(), to=MEMORY_QUERIES, timeout=0.2)
        await asyncio.sleep(3.5)  # longer than the sockets wait
        redis_server.resume()
        assert await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES) == STATS


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
        with pytest.raises(BusUnavailable, match="refuses"):
            await gateway.publish(CHAT, to=QUICK)
        await client.config_set("maxmemory", 0)
        dead = f"{QUICK.physical()}:router:dead"
        async with asyncio.timeout(20):
            while not await client.xlen(dead):
                await asyncio.sleep(0.05)


async def test_reply_stream_dies_with_its_owner(redis_url: str) -> None:
    async with (
        bus_of("gateway", redis_url) as gateway,
        bus_of("router", redis_url) as router,
        client_of(redis_url) as client,
    ):
        key, origin = REPLIES.physical(gateway.process), Origin(reply=f"{gateway.process}/call")
        async with asyncio.timeout(10):
            while not 0 < await client.pttl(key) <= 60_000:
                await asyncio.sleep(0.01)
        assert await router.reply(COMPLETED, origin=origin)
        await client.delete(key)  # as its end of life does
        assert not await router.reply(COMPLETED, origin=origin)
        assert not await client.exists(key)
