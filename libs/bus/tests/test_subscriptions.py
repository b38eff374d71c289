"""A subscription that ends before its bus, and slots that two subscriptions share."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from bus_peers import owners

from archive_bus import Bus, BusOptions, Delivery, Entry, Fair, Gate, Lane, Retry, _link, connect
from archive_bus._redis import RedisTransport
from archive_contracts.engine import EmbedRequested
from archive_contracts.streams import ENGINE_JOBS
from archive_testkit.waiting import eventually

LASTING = replace(ENGINE_JOBS, lease=timedelta(minutes=10))
KEY = LASTING.physical("p")


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with connect(redis_url, redis_url, BusOptions(service="engine", grace_s=1.0)) as running:
        yield running


async def test_closed_subscription_leaves_the_rest(bus: Bus) -> None:
    seen: list[str] = []

    async def note(delivery: Delivery[EmbedRequested]) -> None:
        seen.append(delivery.message.texts[0])

    first = bus.subscribe(ENGINE_JOBS, {EmbedRequested: note}, partition="p")
    await bus.publish(EmbedRequested(texts=("one",)), to=ENGINE_JOBS, partition="p")
    await eventually(lambda: len(seen) >= 1)
    await first.close()
    await first.close()
    await bus.publish(EmbedRequested(texts=("two",)), to=ENGINE_JOBS, partition="p")
    await asyncio.sleep(0.2)
    assert seen == ["one"]
    bus.subscribe(ENGINE_JOBS, {EmbedRequested: note}, partition="p")
    await eventually(lambda: len(seen) >= 2)


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
    await eventually(lambda: len(seen) >= 10)
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
    await eventually(lambda: len(seen) >= 20)
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


async def test_bus_waits_for_a_closing_subscription(redis_url: str) -> None:
    began = asyncio.Event()

    async def hang(_: Delivery[EmbedRequested]) -> None:
        began.set()
        await asyncio.Event().wait()

    async with (
        asyncio.TaskGroup() as tasks,
        connect(redis_url, redis_url, BusOptions(service="engine", grace_s=0.5)) as ending,
    ):
        subscription = ending.subscribe(LASTING, {EmbedRequested: hang}, partition="p")
        await ending.publish(EmbedRequested(texts=("one",)), to=LASTING, partition="p")
        async with asyncio.timeout(30):
            await began.wait()
        tasks.create_task(subscription.close())
        await asyncio.sleep(0.05)
    assert await owners(redis_url, KEY, "engine") == [b"-"]


async def test_two_ends_at_once_cut_no_drain(redis_url: str) -> None:
    began, release, done = asyncio.Semaphore(0), asyncio.Event(), list[str]()

    async def finish(delivery: Delivery[EmbedRequested]) -> None:
        began.release()
        await release.wait()
        done.append(delivery.message.texts[0])

    async with (
        asyncio.TaskGroup() as tasks,
        connect(redis_url, redis_url, BusOptions(service="engine", grace_s=30)) as ending,
    ):
        closing = ending.subscribe(LASTING, {EmbedRequested: finish}, partition="p")
        ending.subscribe(LASTING, {EmbedRequested: finish}, partition="q")
        for lane in ("p", "q"):
            await ending.publish(EmbedRequested(texts=(lane,)), to=LASTING, partition=lane)
        async with asyncio.timeout(30):
            await began.acquire()
            await began.acquire()
        tasks.create_task(closing.close())
        asyncio.get_running_loop().call_later(0.2, release.set)
    assert sorted(done) == ["p", "q"]
    assert await owners(redis_url, KEY, "engine") == []


async def test_drain_strands_nothing_claimed(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, claims = RedisTransport.claim, asyncio.Event()

    async def again(delivery: Delivery[EmbedRequested]) -> None:
        if delivery.attempt == 1:
            raise Retry("once more", delay_s=0)

    async def claimed(self: RedisTransport, lane: Lane, *, count: int) -> Sequence[Entry]:
        if rows := await claim(self, lane, count=count):
            claims.set()
            await asyncio.sleep(0)  # the drain begins between a claim and its run
        return rows

    monkeypatch.setattr(RedisTransport, "claim", claimed)
    async with connect(redis_url, redis_url, BusOptions(service="engine", grace_s=0.5)) as bus:
        subscription = bus.subscribe(LASTING, {EmbedRequested: again}, partition="p")
        await bus.publish(EmbedRequested(texts=("one",)), to=LASTING, partition="p")
        async with asyncio.timeout(30):
            await claims.wait()
        await subscription.close()
    assert set(await owners(redis_url, KEY, "engine")) <= {b"-"}


async def test_counts_outlive_their_subscription(bus: Bus) -> None:
    seen: list[str] = []

    async def note(delivery: Delivery[EmbedRequested]) -> None:
        seen.append(delivery.message.texts[0])

    subscription = bus.subscribe(ENGINE_JOBS, {EmbedRequested: note}, partition="p")
    await bus.publish(EmbedRequested(texts=("one",)), to=ENGINE_JOBS, partition="p")
    await eventually(lambda: len(seen) >= 1)
    await subscription.close()
    assert bus.counters()["engine.jobs", "done"] == 1


async def test_broken_reader_ends_the_service(redis_url: str) -> None:
    asked = iter((4, 4))

    def broken() -> int:
        return next(asked)

    async def ignore(_: Delivery[EmbedRequested]) -> None: ...

    async def serve() -> None:
        async with connect(redis_url, redis_url, BusOptions(service="engine", grace_s=0.5)) as deaf:
            deaf.subscribe(ENGINE_JOBS, {EmbedRequested: ignore}, partition="p", prefetch=broken)
            await asyncio.sleep(30)

    with pytest.raises(ExceptionGroup) as caught:
        await serve()
    assert caught.group_contains(RuntimeError)


async def test_waiting_for_a_place_is_no_standstill(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_bus._subscription.STALE_LOOP_S", 2.0)
    seen, held, shared = list[str](), asyncio.Event(), Fair(Gate(1))

    async def hold(delivery: Delivery[EmbedRequested]) -> None:
        seen.append(delivery.message.texts[0])
        await held.wait()

    for partition in ("p", "q"):
        slots = shared.share(1)
        bus.subscribe(ENGINE_JOBS, {EmbedRequested: hold}, partition=partition, slots=slots, prefetch=1)
    await bus.publish(EmbedRequested(texts=("holder",)), to=ENGINE_JOBS, partition="p")
    await eventually(lambda: len(seen) >= 1)
    await bus.publish(EmbedRequested(texts=("waiter",)), to=ENGINE_JOBS, partition="q")
    await asyncio.sleep(4.0)
    await eventually(lambda: bus.live() is None, within=30.0)
    assert seen == ["holder"]
    held.set()
    await eventually(lambda: len(seen) >= 2)


async def test_handler_publishes_before_its_reader_asks_for_more(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the answer should not wait for the next question to be written."""
    wire = _link._Wire  # pyright: ignore[reportPrivateUsage] - what is asked in which order shows nowhere else
    said, ask, handed_on = list[bytes](), wire.ask, ENGINE_JOBS.physical("q").encode()

    def asking(self: Any, commands: bytes, *args: Any, **options: Any) -> Any:
        said.append(commands)
        return ask(self, commands, *args, **options)

    async def hand_on(delivery: Delivery[EmbedRequested]) -> None:
        await delivery.publish(EmbedRequested(texts=("next",)), to=ENGINE_JOBS, partition="q")

    await bus.publish(EmbedRequested(texts=("first",)), to=ENGINE_JOBS, partition="q")  # which makes the stream
    monkeypatch.setattr(wire, "ask", asking)
    bus.subscribe(ENGINE_JOBS, {EmbedRequested: hand_on}, partition="p")
    await eventually(lambda: any(b"XREADGROUP" in commands for commands in said))
    said.clear()
    await bus.publish(EmbedRequested(texts=("one",)), to=ENGINE_JOBS, partition="p")
    await eventually(lambda: any(handed_on in commands for commands in said))
    published = next(at for at, commands in enumerate(said) if handed_on in commands)
    assert not [commands for commands in said[:published] if b"XREADGROUP" in commands]
