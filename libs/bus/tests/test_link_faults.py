"""What happens when connections are cut, or stay open while nothing answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from bus_peers import (
    CHAT,
    COMPLETED,
    KEPT,
    STATS,
    answer_stats,
    bus_of,
    client_of,
)

from archive_bus import BusUnavailable, Delivery, Entry, Lane, Origin
from archive_bus._adrift import Adrift
from archive_bus._redis import RedisTransport
from archive_contracts.chat import ChatDelta, ChatRequested
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import CHAT_REQUESTS, MEMORY_QUERIES, REPLIES, Stream
from archive_testkit.guarantees import Figure
from archive_testkit.proxy import TcpProxy
from archive_testkit.servers import RedisServer
from archive_testkit.waiting import becomes, eventually


@pytest.mark.guarantee("G6")
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


@pytest.mark.guarantee("G11")
async def test_frozen_state_server_doubles_no_delta(redis_url: str, state_server: RedisServer) -> None:
    async def freeze() -> None:
        state_server.pause()
        await asyncio.sleep(3.5)  # longer than the sockets wait: what was written is written again
        state_server.resume()

    got = await deltas_while(freeze, redis_url, state_server.url, each=200)
    assert got == [str(number) for number in range(300)]


@pytest.mark.guarantee("G11")
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


@pytest.mark.guarantee("G13")
async def test_request_waits_for_its_stream(redis_url: str, state_server: RedisServer) -> None:
    state_server.pause()
    async with (
        bus_of("gateway", redis_url, state=state_server.url) as gateway,
        bus_of("memory", redis_url, state=state_server.url) as memory,
        client_of(redis_url) as client,
        asyncio.TaskGroup() as tasks,
    ):
        with pytest.raises(BusUnavailable, match="reply stream"):
            await gateway.open(GetLibraryStats(), to=MEMORY_QUERIES, publish_within=0.1).__aenter__()
        asking = tasks.create_task(gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES, timeout=60))
        await asyncio.sleep(0.3)
        assert await client.xlen(MEMORY_QUERIES.physical()) == 0
        state_server.resume()
        memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: answer_stats})
        assert await asking == STATS


async def test_reply_stream_dies_with_its_owner(redis_url: str) -> None:
    async with (
        bus_of("gateway", redis_url) as gateway,
        bus_of("router", redis_url) as router,
        client_of(redis_url) as client,
    ):
        key, origin = REPLIES.physical(gateway.process), Origin(reply=f"{gateway.process}/call")
        async with asyncio.timeout(10):
            while not 0 < await client.pttl(key) <= 30_000:
                await asyncio.sleep(0.01)
        assert await router.reply(COMPLETED, origin=origin)
        await client.delete(key)  # as its end of life does
        assert not await router.reply(COMPLETED, origin=origin)
        assert not await client.exists(key)


@pytest.mark.guarantee("G11")
async def test_black_hole_is_noticed(redis_server: RedisServer, figure: Figure) -> None:
    async with (
        TcpProxy(redis_server.port) as proxy,
        bus_of("gateway", redis_server.url) as gateway,
        bus_of("memory", proxy.url) as memory,
    ):
        memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: answer_stats})
        assert await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES) == STATS
        proxy.swallow()
        async with gateway.open(GetLibraryStats(), to=MEMORY_QUERIES, timeout=60) as call:
            await asyncio.sleep(8)
            healed = time.monotonic()
            proxy.heal()
            assert await call.next() == STATS
        resumed = time.monotonic() - healed
        figure("resumes after", resumed, "s")
        assert resumed < MEMORY_QUERIES.lease.total_seconds() / 3, "what was lost on its way waited for its lease"


async def runs_are(client: Any, stream: Stream, count: int) -> None:
    """Wait until so many runs are noted of the one message that is not settled."""

    async def noted() -> list[int]:
        return [len(runs.split()) for runs in await client.hvals(f"{stream.physical()}:router:runs")]

    await becomes(noted, [count])


@pytest.mark.guarantee("G5")
@pytest.mark.parametrize("late", [False, True])
async def test_cut_off_run_is_taken_back(redis_server: RedisServer, late: bool) -> None:
    stream, attempts, over = replace(CHAT_REQUESTS, lease=timedelta(seconds=2)), list[int](), asyncio.Event()
    cut = asyncio.Event()

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        attempts.append(delivery.attempt)
        if late and len(attempts) == 1:
            await cut.wait()  # it ends well, and its acknowledgement comes too late
        else:
            await over.wait()

    async with (
        TcpProxy(redis_server.port) as proxy,
        bus_of("router", redis_server.url) as near,
        bus_of("router", proxy.url) as far,
        client_of(redis_server.url) as client,
    ):
        far.subscribe(stream, {ChatRequested: handle})
        await near.publish(CHAT, to=stream)
        await runs_are(client, stream, 1)
        proxy.swallow()
        cut.set()
        near.subscribe(stream, {ChatRequested: handle})
        await eventually(lambda: attempts == [1, 2])
        await runs_are(client, stream, 2)
        proxy.heal()
        await runs_are(client, stream, 1)
        over.set()
        await eventually(lambda: near.counters().get(("chat.requests", "done")) == 1)
    assert attempts == [1, 2]


@pytest.mark.guarantee("G5")
async def test_run_is_noted_after_an_outage(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_bus._redis.connections.SETTLE_TIMEOUT_S", 0.5)
    over = asyncio.Event()

    async with (
        TcpProxy(redis_server.port) as proxy,
        bus_of("router", proxy.url) as router,
        client_of(redis_server.url) as client,
    ):

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            del delivery
            proxy.swallow()
            await over.wait()

        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        await router.publish(CHAT, to=CHAT_REQUESTS)
        await asyncio.sleep(2.0)  # telling has failed by then
        assert not await client.hvals(f"{CHAT_REQUESTS.physical()}:router:runs")
        proxy.heal()
        await runs_are(client, CHAT_REQUESTS, 1)
        over.set()
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)


@pytest.mark.guarantee("G5")
async def test_own_claim_after_an_outage_loses_nothing(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, attempts = replace(CHAT_REQUESTS, lease=timedelta(seconds=2)), list[int]()
    claim, hand_back, claimed = RedisTransport.claim, Adrift.hand_back, asyncio.Event()

    async def claiming(self: RedisTransport, lane: Lane, *, count: int) -> Sequence[Entry]:
        if rows := await claim(self, lane, count=count):
            claimed.set()
        return rows

    async def handing_back(self: Adrift) -> int:
        return await hand_back(self) if claimed.is_set() else 0

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        attempts.append(delivery.attempt)
        await asyncio.sleep(60 if len(attempts) == 1 else 0)

    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    monkeypatch.setattr(RedisTransport, "claim", claiming)
    monkeypatch.setattr(Adrift, "hand_back", handing_back)
    async with TcpProxy(port) as proxy, bus_of("router", proxy.url) as router:
        router.subscribe(stream, {ChatRequested: handle})
        await router.publish(CHAT, to=stream)
        await eventually(lambda: attempts == [1])
        await asyncio.sleep(0.3)  # its start is noted
        proxy.swallow()
        await eventually(lambda: router.counters().get(("chat.requests", "lost_lease")) == 1)
        proxy.heal()
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
    assert attempts == [1, 1]
    assert claimed.is_set()


@pytest.mark.guarantee("G3")
async def test_cut_off_worker_ends_its_handler(redis_server: RedisServer) -> None:
    stream, running, most = replace(CHAT_REQUESTS, lease=timedelta(seconds=3)), 0, 0
    ended: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(0.5 if delivery.envelope.id in ended else 60)
        finally:
            running -= 1
            ended.append(delivery.envelope.id)

    async with (
        TcpProxy(redis_server.port) as proxy,
        bus_of("router", redis_server.url) as near,
        bus_of("router", proxy.url) as far,
    ):
        far.subscribe(stream, {ChatRequested: handle})
        await near.publish(CHAT, to=stream)
        await eventually(lambda: running == 1)
        proxy.swallow()
        near.subscribe(stream, {ChatRequested: handle})
        await eventually(lambda: near.counters().get(("chat.requests", "done")) == 1)
        assert far.counters()["chat.requests", "lost_lease"] == 1
        proxy.heal()
    assert (most, len(ended)) == (1, 2)
