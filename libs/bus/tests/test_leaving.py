"""Drains that meet an outage, a server that is silent, and handlers that clean up."""

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from bus_peers import CHAT, COMPLETED, bus_of, client_of, owners

from archive_bus import Delivery, Handler, Lane
from archive_bus._owners import Owner
from archive_bus._redis.owners import RedisOwners
from archive_contracts.chat import ChatCompleted, ChatRequested
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS, REPLIES
from archive_testkit.proxy import TcpProxy
from archive_testkit.servers import RedisServer
from archive_testkit.waiting import becomes, eventually

LASTING = replace(CHAT_REQUESTS, lease=timedelta(minutes=5))
"""What nobody hands back comes to nobody while a test waits."""
KEY = LASTING.physical()
RUNS = f"{KEY}:router:runs"


async def hang(_: Delivery[ChatRequested]) -> None:
    await asyncio.Event().wait()


@pytest.mark.guarantee("G4")
async def test_drain_in_an_outage_strands_nothing(redis_server: RedisServer) -> None:
    async with bus_of("gateway", redis_server.url) as gateway:
        async with asyncio.TaskGroup() as tasks, bus_of("router", redis_server.url, grace_s=3.0) as router:
            for _ in range(10):
                await gateway.publish(CHAT, to=LASTING)
            router.subscribe(LASTING, {ChatRequested: hang}, concurrency=2, prefetch=10)
            async with client_of(redis_server.url) as client, asyncio.timeout(30):
                while await client.hlen(RUNS) < 2:
                    await asyncio.sleep(0.02)
            await asyncio.to_thread(redis_server.kill)
            # Once its end has begun: it gives up what waits first, then what runs.
            asyncio.get_running_loop().call_later(1.0, tasks.create_task, asyncio.to_thread(redis_server.start))
        # All of them came with one read.
        assert await owners(redis_server.url, KEY, "router") == [b"-"] * 10
        async with client_of(redis_server.url) as client:
            assert await client.hgetall(RUNS) == {}


async def test_end_of_a_subscription_is_told_after_an_outage(redis_server: RedisServer) -> None:
    began = asyncio.Event()

    async def handle(_: Delivery[ChatRequested]) -> None:
        began.set()
        await asyncio.Event().wait()

    async with (
        bus_of("gateway", redis_server.url) as gateway,
        bus_of("router", redis_server.url, grace_s=0.1) as router,
    ):
        subscription = router.subscribe(LASTING, {ChatRequested: handle})
        await gateway.publish(CHAT, to=LASTING)
        async with asyncio.timeout(30):
            await began.wait()
        await asyncio.to_thread(redis_server.kill)
        await subscription.close()
        await asyncio.to_thread(redis_server.start)
        await becomes(lambda: owners(redis_server.url, KEY, "router"), [b"-"])
        async with client_of(redis_server.url) as client:
            assert await client.hgetall(RUNS) == {}


def again(said: list[str]) -> Handler[Any]:
    """A handler of the one who takes over."""

    async def handle(_: Delivery[Any]) -> None:
        said.append("begins again")

    return handle


def outlasting(said: list[str]) -> Handler[Any]:
    """A handler that goes on for a while whatever is cancelled."""

    async def handle(_: Delivery[Any]) -> None:
        said.append("begins")
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.1)
        said.append("is over")

    return handle


@pytest.mark.guarantee("G3", "G4")
async def test_cut_handler_cleans_up_alone(redis_url: str) -> None:
    said: list[str] = []

    async def first(_: Delivery[ChatRequested]) -> None:
        said.append("begins")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.2)
            said.append("has cleaned up")

    async with bus_of("gateway", redis_url) as gateway, bus_of("router", redis_url) as other:
        async with bus_of("router", redis_url, grace_s=0.1) as router:
            router.subscribe(LASTING, {ChatRequested: first})
            await gateway.publish(CHAT, to=LASTING)
            await eventually(lambda: bool(said))
            other.subscribe(LASTING, {ChatRequested: again(said)})
        await eventually(lambda: len(said) == 3)
    assert said == ["begins", "has cleaned up", "begins again"]


@pytest.mark.guarantee("G3", "G4")
@pytest.mark.parametrize("lives_on", [False, True])
async def test_handler_that_outlasts_its_end_is_not_doubled(redis_url: str, lives_on: bool) -> None:
    said: list[str] = []

    async with bus_of("gateway", redis_url) as gateway, bus_of("router", redis_url) as other:
        async with bus_of("router", redis_url, grace_s=0.1) as router:
            subscription = router.subscribe(LASTING, {ChatRequested: outlasting(said)})
            await gateway.publish(CHAT, to=LASTING)
            await eventually(lambda: bool(said))
            other.subscribe(LASTING, {ChatRequested: again(said)})
            if lives_on:
                await subscription.close()
                await eventually(lambda: len(said) == 3)
        await eventually(lambda: len(said) == 3)
    assert said == ["begins", "is over", "begins again"]


@pytest.mark.guarantee("G3", "G12")
async def test_partition_of_a_handler_that_goes_on_is_kept(redis_url: str) -> None:
    events = replace(CHAT_EVENTS, partitions=2, key="session", lease=timedelta(minutes=5))
    said: list[str] = []

    async with bus_of("memory", redis_url) as other:
        async with bus_of("memory", redis_url, grace_s=0.1) as memory:
            memory.subscribe(events, {ChatCompleted: outlasting(said)})
            await memory.publish(COMPLETED, to=events)
            await eventually(lambda: bool(said))
            other.subscribe(events, {ChatCompleted: again(said)})
        await eventually(lambda: len(said) == 3)
    assert said == ["begins", "is over", "begins again"]


async def test_silent_server_holds_up_no_end(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    events = replace(CHAT_EVENTS, partitions=4, key="session", lease=timedelta(minutes=5))
    running: list[int] = []

    async def handle(_: Delivery[ChatCompleted]) -> None:
        running.append(1)
        await asyncio.Event().wait()

    for bound in ("_leaving.TELL_S", "_partitions.LET_GO_S", "_bus.LEAVE_S"):
        monkeypatch.setattr(f"archive_bus.{bound}", 0.5)
    async with bus_of("memory", redis_server.url, grace_s=0.5) as memory:
        memory.subscribe(events, {ChatCompleted: handle})
        for number in range(8):
            await memory.publish(COMPLETED.model_copy(update={"session": str(number)}), to=events)
        await eventually(lambda: bool(running))
        redis_server.pause()
        asked = time.monotonic()
    # Each of its steps would wait for five seconds by itself.
    assert time.monotonic() - asked < 20.0


async def test_silent_state_server_holds_up_no_end(
    redis_url: str, state_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archive_bus._bus.LEAVE_S", 0.5)
    async with client_of(state_server.url) as client:
        async with bus_of("gateway", redis_url, state=state_server.url) as gateway:
            reply_stream = REPLIES.physical(gateway.process)
            await becomes(lambda: client.exists(reply_stream), 1)
            state_server.pause()
            asked = time.monotonic()
        assert time.monotonic() - asked < 15.0
        state_server.resume()
        # By itself it would end after half a minute.
        await becomes(lambda: client.exists(reply_stream), 0, within=10.0)


@pytest.mark.guarantee("G4")
async def test_acknowledgement_into_an_outage_is_handed_back(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archive_bus._leaving.TELL_S", 0.5)
    monkeypatch.setattr("archive_bus._redis.connections.SETTLE_TIMEOUT_S", 0.5)
    attempts: list[int] = []
    async with (
        TcpProxy(redis_server.port) as proxy,
        bus_of("router", redis_server.url) as near,
        bus_of("router", proxy.url, grace_s=0.5) as far,
    ):

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            attempts.append(delivery.attempt)
            proxy.swallow()

        subscription = far.subscribe(LASTING, {ChatRequested: handle})
        await near.publish(CHAT, to=LASTING)
        await eventually(lambda: bool(attempts))
        await subscription.close()
        assert await owners(redis_server.url, KEY, "router") == [far.process.encode()]
        proxy.heal()
        await becomes(lambda: owners(redis_server.url, KEY, "router"), [b"-"])
        near.subscribe(LASTING, {ChatRequested: handle})
        await eventually(lambda: near.counters().get((LASTING.name, "done")) == 1)
    assert attempts == [1, 1]


@pytest.mark.guarantee("G4", "G12")
async def test_partition_taken_while_leaving_is_let_go(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    events = replace(CHAT_EVENTS, partitions=2, key="session", lease=timedelta(minutes=5))
    own, taken = RedisOwners.own, asyncio.Event()

    async def taking(self: RedisOwners, lane: Lane, *, lease_s: float) -> Owner | None:
        owner = await own(self, lane, lease_s=lease_s)
        if lease_s:
            taken.set()
            await asyncio.Event().wait()  # the end comes before the server's reply does
        return owner

    monkeypatch.setattr(RedisOwners, "own", taking)
    async with client_of(redis_url) as client:
        async with bus_of("memory", redis_url) as memory:
            memory.subscribe(events, {ChatCompleted: again([])})
            async with asyncio.timeout(30):
                await taken.wait()
            assert len(await client.keys("*:memory:owner")) == 1
        assert await client.keys("*:memory:owner") == []
