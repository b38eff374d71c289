"""Owners of ordered partitions that are killed or frozen, and a server that loses the stream."""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from bus_peers import bus_of, client_of

from archive_bus import Bus, Delivery, Operator
from archive_contracts.chat import ChatCompleted
from archive_contracts.streams import CHAT_EVENTS, Stream
from archive_testkit.guarantees import Figure
from archive_testkit.proxy import TcpProxy
from archive_testkit.servers import RedisServer
from archive_testkit.waiting import eventually

OWNER = Path(__file__).parent / "apps" / "owner.py"
STREAM = replace(CHAT_EVENTS, partitions=8, key="session", lease=timedelta(seconds=1))
KEYS = [f"key-{number}" for number in range(24)]
EACH = 40

Told = list[tuple[str, int, int]]
"""Key, number and fencing token of each handled message, in the order in which they were told."""


def turn(session: str, number: int) -> ChatCompleted:
    return ChatCompleted(engine="e", pool="p", model="m", session=session, text=str(number))


@contextlib.asynccontextmanager
async def owner(url: str, told: Told) -> AsyncGenerator[Process, None]:
    """Run an owner and collect what it tells."""
    process = await asyncio.create_subprocess_exec(sys.executable, str(OWNER), url, "1", stdout=PIPE)
    assert process.stdout

    async def listen(lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            key, number, fence = line.decode().split()
            told.append((key, int(number), int(fence)))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listen(process.stdout))
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def publish_all(bus: Bus) -> None:
    for number in range(EACH):
        for key in KEYS:
            await bus.publish(turn(key, number), to=STREAM)
        await asyncio.sleep(0.05)


def effects(told: Told) -> Iterator[tuple[str, list[int]]]:
    """Yield what each key's store has accepted: it refuses a token below the highest it has seen."""
    accepted: defaultdict[str, list[int]] = defaultdict(list)
    highest: defaultdict[str, int] = defaultdict(int)
    for key, number, fence in told:
        if fence >= highest[key]:
            highest[key] = fence
            accepted[key].append(number)
    yield from accepted.items()


@pytest.mark.guarantee("G12")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
async def test_lost_owner_inverts_no_key(redis_server: RedisServer, blow: signal.Signals, figure: Figure) -> None:
    told: Told = []
    url = redis_server.url
    async with bus_of("engine", url) as publisher, owner(url, told), owner(url, told) as victim:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publish_all(publisher))
            await eventually(lambda: len({fence for _, _, fence in told}) >= 2 and len(told) > 200, within=40)
            victim.send_signal(blow)
        await eventually(lambda: {(key, number) for key, number, _ in told} >= _everything(), within=100)
    inverted = sum(b < a for _, numbers in effects(told) for a, b in pairwise(numbers))
    figure("inversions", inverted)
    figure("run twice", len(told) / (EACH * len(KEYS)) * 100 - 100, "%")
    assert inverted == 0


def _everything() -> set[tuple[str, int]]:
    return {(key, number) for key in KEYS for number in range(EACH)}


@pytest.mark.guarantee("G10", "G12")
async def test_dropped_group_starts_nothing_twice(redis_url: str) -> None:
    stream = replace(STREAM, lease=timedelta(seconds=30))  # the group is made anew before a lease is missed
    begun: list[str] = []
    busy, most = 0, 0
    hold = asyncio.Event()

    async def handle(delivery: Delivery[ChatCompleted]) -> None:
        nonlocal busy, most
        begun.append(delivery.message.text)
        busy += 1
        most = max(most, busy)
        if delivery.message.text == "long":
            await hold.wait()
        busy -= 1

    first = turn("one", 0)
    key = stream.physical(stream.partition_of(first))
    async with bus_of("memory", redis_url) as memory, client_of(redis_url) as client:
        memory.subscribe(stream, {ChatCompleted: handle})
        await memory.publish(first, to=stream)
        await memory.publish(first.model_copy(update={"text": "long"}), to=stream)
        await eventually(lambda: begun == ["0", "long"])
        await client.xgroup_destroy(key, "memory")
        async with asyncio.timeout(20):
            while not (groups := await client.xinfo_groups(key)) or groups[0]["pending"] < 2:
                await asyncio.sleep(0.02)
        await memory.publish(first.model_copy(update={"text": "last"}), to=stream)
        await asyncio.sleep(0.5)  # what must not begin beside it would have begun
        hold.set()
        await eventually(lambda: begun == ["0", "long", "0", "last"])
    assert most == 1


@contextlib.asynccontextmanager
async def held_at_the_first(
    url: str, stream: Stream, count: int
) -> AsyncGenerator[tuple[Bus, list[str], asyncio.Event], None]:
    """Yield a bus whose handler has the first of so many messages of a key, what has begun, and what lets it go on."""
    begun: list[str] = []
    hold = asyncio.Event()

    async def handle(delivery: Delivery[ChatCompleted]) -> None:
        begun.append(delivery.message.text)
        await hold.wait()

    async with bus_of("memory", url) as memory:
        memory.subscribe(stream, {ChatCompleted: handle})
        for number in range(count):
            await memory.publish(turn("one", number), to=stream)
        await eventually(lambda: begun == ["0"])
        yield memory, begun, hold


@pytest.mark.guarantee("G10", "G12")
async def test_deleted_partition_goes_on(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with held_at_the_first(redis_url, STREAM, 3) as (memory, begun, hold), client_of(redis_url) as client:
        await client.delete(STREAM.physical(STREAM.partition_of(turn("one", 0))))
        hold.set()
        await eventually(lambda: "its messages are lost" in caplog.text)
        await memory.publish(turn("one", 3), to=STREAM)
        await eventually(lambda: "3" in begun)
    assert (begun[0], begun[-1]) == ("0", "3")


@pytest.mark.guarantee("G10", "G12")
async def test_lost_successors_wait_for_no_lease(redis_url: str) -> None:
    stream, count = replace(STREAM, lease=timedelta(seconds=3)), 30
    key = stream.physical(stream.partition_of(turn("one", 0)))
    async with held_at_the_first(redis_url, stream, count) as (memory, begun, hold), client_of(redis_url) as client:
        async with asyncio.timeout(30):
            # Until a renewal finds no group, and with it all leases lost.
            while not memory.counters().get((stream.name, "lost_lease")):
                await client.xgroup_destroy(key, "memory")
                await asyncio.sleep(0.005)
        hold.set()
        # A lease for each of them would take half as long again.
        await eventually(lambda: set(begun) == {str(number) for number in range(count)})
    assert list(dict.fromkeys(begun)) == [str(number) for number in range(count)]


@pytest.mark.guarantee("G10", "G12")
async def test_dropped_group_returns_with_its_service(redis_url: str) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatCompleted]) -> None:
        seen.append(delivery.message.text)

    first = turn("one", 0)
    async with bus_of("engine", redis_url) as engine, Operator(redis_url, redis_url) as operator:
        await engine.publish(first, to=STREAM)
        await operator.drop_group(STREAM, "memory", partition=STREAM.partition_of(first))
        async with bus_of("memory", redis_url) as memory:
            memory.subscribe(STREAM, {ChatCompleted: handle})
            await eventually(lambda: bool(seen))
    assert seen == ["0"]


@pytest.mark.guarantee("G5")
async def test_outage_beyond_ownership_adds_no_attempt(redis_server: RedisServer) -> None:
    stream, attempts, over = replace(STREAM, lease=timedelta(seconds=2)), list[int](), asyncio.Event()
    message = turn("k", 1)
    noted = f"{stream.physical(stream.partition_of(message))}:memory:runs"

    async def handle(delivery: Delivery[ChatCompleted]) -> None:
        attempts.append(delivery.attempt)
        try:
            await over.wait()
        finally:
            if len(attempts) == 1:
                await asyncio.sleep(4.0)  # it is still at it when its process owns the partition anew

    async def runs() -> list[int]:
        async with client_of(redis_server.url) as client:
            return [len(each.split()) for each in await client.hvals(noted)]

    async with (
        TcpProxy(redis_server.port) as proxy,
        bus_of("engine", redis_server.url) as engine,
        bus_of("memory", proxy.url) as memory,
    ):
        memory.subscribe(stream, {ChatCompleted: handle})
        await engine.publish(message, to=stream)
        async with asyncio.timeout(30):
            while await runs() != [1]:
                await asyncio.sleep(0.02)
        proxy.swallow()
        await asyncio.sleep(4.0)
        proxy.heal()
        await eventually(lambda: len(attempts) == 2)
        async with asyncio.timeout(30):
            while await runs() != [1]:
                await asyncio.sleep(0.02)
        over.set()
        await eventually(lambda: memory.counters().get((stream.name, "done")) == 1)
    assert attempts == [1, 2]  # the second began before the end of the first could be told
