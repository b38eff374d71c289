"""What the bus in memory offers beyond the conformance suite: a clock and outages of a test's own choosing."""

import asyncio
import time
from datetime import timedelta

import pytest

from archive_bus import BusUnavailable, Busy, Delivery, Lane, Limits
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.jobs import JobQueued
from archive_contracts.streams import CHAT_REQUESTS, JOBS_JOURNAL, Server
from archive_testkit.memory_broker import Broker
from archive_testkit.memory_bus import memory_bus
from archive_testkit.waiting import eventually

CHAT = ChatRequested(body="{}", model="m")


class Clock:
    """The time of day, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


async def hang(delivery: Delivery[ChatRequested]) -> None:
    await asyncio.sleep(60)


def test_leases_follow_the_clock() -> None:
    clock = Clock()
    broker = Broker(clock)
    key = CHAT_REQUESTS.physical()
    one, two = (Lane(stream=CHAT_REQUESTS, partition="0", group="router", consumer=name) for name in ("one", "two"))
    broker.ensure(key, ["router"])
    broker.add(key, {b"type": b"t"})
    (entry,) = broker.take(one, count=1)
    assert broker.claim(two, count=1) == []
    clock.ahead_s = CHAT_REQUESTS.lease.total_seconds()
    assert [claimed.id for claimed in broker.claim(two, count=1)] == [entry.id]
    assert broker.pending(CHAT_REQUESTS, "router") == {entry.id: "two"}


async def test_journals_end_with_their_retention() -> None:
    clock = Clock()
    async with memory_bus("gateway", Broker(clock)) as bus:
        await bus.append(JobQueued(job_id="j", kind="ingest"), to=JOBS_JOURNAL, entity="j")
        assert len(await bus.journal(JOBS_JOURNAL, "j")) == 1
        clock.ahead_s = JOBS_JOURNAL.retention.total_seconds()
        assert await bus.journal(JOBS_JOURNAL, "j") == []


async def test_publish_waits_for_the_end_of_an_outage() -> None:
    broker = Broker()
    async with memory_bus("gateway", broker) as gateway, asyncio.TaskGroup() as tasks:
        with broker.outage(Server.BUS):
            assert await gateway.check() == "the bus server does not answer"
            with pytest.raises(BusUnavailable):
                await gateway.publish(CHAT, to=CHAT_REQUESTS, timeout=0.01)
            waiting = tasks.create_task(gateway.publish(CHAT, to=CHAT_REQUESTS))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        await waiting
    assert len(broker.entries(CHAT_REQUESTS.physical())) == 1


async def test_deltas_of_an_outage_arrive_in_order() -> None:
    broker = Broker()

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        with broker.outage(Server.STATE):
            for number in range(5):
                _ = delivery.emit(ChatDelta(body=str(number)))
            await asyncio.sleep(0.05)
        await delivery.reply(ChatCompleted(engine="e", pool="p", model="m"))

    got: list[str] = []
    async with memory_bus("gateway", broker) as gateway, memory_bus("router", broker) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        async with gateway.open(CHAT, to=CHAT_REQUESTS) as call:
            while isinstance(reply := await call.next(), ChatDelta):
                got.append(reply.body)
    assert got == ["0", "1", "2", "3", "4"]


async def test_dead_letters_can_be_looked_at() -> None:
    broker = Broker()
    async with memory_bus("router", broker) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: hang})
        broker.add(CHAT_REQUESTS.physical(), {b"nothing": b"useful"})
        await eventually(lambda: bool(broker.dead(CHAT_REQUESTS, "router")))
    (letter,) = broker.dead(CHAT_REQUESTS, "router")
    assert letter[b"cause.code"] == b"undecodable"
    assert letter[b"raw.nothing"] == b"useful"


async def test_depth_counts_what_is_delayed() -> None:
    async with memory_bus("gateway", Broker(), limits=Limits(depth=2)) as bus:
        for _ in range(2):
            await bus.publish(CHAT, to=CHAT_REQUESTS, delay=timedelta(hours=1))
        with pytest.raises(Busy, match="2 delayed"):
            await bus.publish(CHAT, to=CHAT_REQUESTS, delay=timedelta(hours=1))
