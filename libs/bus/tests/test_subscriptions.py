"""A subscription that ends before its bus, and slots that two subscriptions share."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from archive_bus import Bus, BusOptions, Delivery, Fair, Gate, connect
from archive_contracts.engine import EmbedRequested
from archive_contracts.streams import ENGINE_JOBS


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with connect(redis_url, redis_url, BusOptions(service="engine", grace_s=1.0)) as running:
        yield running


async def until(count: int, seen: list[str]) -> None:
    async with asyncio.timeout(10):
        while len(seen) < count:
            await asyncio.sleep(0.01)


async def test_closed_subscription_leaves_the_rest(bus: Bus) -> None:
    seen: list[str] = []

    async def note(delivery: Delivery[EmbedRequested]) -> None:
        seen.append(delivery.message.texts[0])

    first = bus.subscribe(ENGINE_JOBS, {EmbedRequested: note}, partition="p")
    await bus.publish(EmbedRequested(texts=("one",)), to=ENGINE_JOBS, partition="p")
    await until(1, seen)
    await first.close()
    await first.close()
    await bus.publish(EmbedRequested(texts=("two",)), to=ENGINE_JOBS, partition="p")
    await asyncio.sleep(0.2)
    assert seen == ["one"]
    bus.subscribe(ENGINE_JOBS, {EmbedRequested: note}, partition="p")
    await until(2, seen)


async def test_shared_slots_bound_both(bus: Bus) -> None:
    gate, seen, most, running = Gate(2), list[str](), 0, 0

    async def work(delivery: Delivery[EmbedRequested]) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        seen.append(delivery.message.texts[0])

    for partition in ("p", "q"):
        bus.subscribe(ENGINE_JOBS, {EmbedRequested: work}, partition=partition, prefetch=1, slots=gate)
    for number in range(10):
        job = EmbedRequested(texts=(str(number),))
        await bus.publish(job, to=ENGINE_JOBS, partition="p" if number % 2 else "q")
    await until(10, seen)
    assert most == 2


async def test_reads_stay_within_free_slots(bus: Bus) -> None:
    gate, seen, asked = Gate(4), list[str](), list[int]()

    def most() -> int:
        asked.append(max(1, gate.spare))
        return asked[-1]

    async def work(delivery: Delivery[EmbedRequested]) -> None:
        await asyncio.sleep(0.01)
        seen.append(delivery.message.texts[0])

    for number in range(20):
        await bus.publish(EmbedRequested(texts=(str(number),)), to=ENGINE_JOBS, partition="p")
    bus.subscribe(ENGINE_JOBS, {EmbedRequested: work}, partition="p", prefetch=most, slots=gate)
    await until(20, seen)
    assert max(asked) == 4
    assert sorted(seen, key=int) == [str(number) for number in range(20)]


async def test_messages_without_a_place_go_on_together(bus: Bus, redis_url: str) -> None:
    held, seen = asyncio.Event(), list[str]()

    async def hold(_: Delivery[EmbedRequested]) -> None:
        await held.wait()

    async def note(delivery: Delivery[EmbedRequested]) -> None:
        seen.append(delivery.message.texts[0])

    for number in range(4):
        await bus.publish(EmbedRequested(texts=(str(number),)), to=ENGINE_JOBS, partition="p")
    share = Fair(Gate(1)).share(1)
    bus.subscribe(ENGINE_JOBS, {EmbedRequested: hold}, partition="p", slots=share, prefetch=4)
    async with connect(redis_url, redis_url, BusOptions(service="engine", grace_s=1.0)) as other:
        async with asyncio.timeout(30):
            while bus.counters().get(("engine.jobs", "handed_back"), 0) < 3:
                await asyncio.sleep(0.05)
        other.subscribe(ENGINE_JOBS, {EmbedRequested: note}, partition="p")
        async with asyncio.timeout(30):
            while len(seen) < 3:
                await asyncio.sleep(0.05)
        held.set()
    assert sorted(seen) == ["1", "2", "3"]
