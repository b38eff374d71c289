"""Messages of one key are handled one after the other, in their order, whichever processes share the work."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import pytest

from archive_bus import Bus, Delivery, Reject, Retry
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted
from archive_contracts.streams import CHAT_EVENTS
from archive_testkit.conformance.backend import Backend, Feature, bare, lane_of, needs
from archive_testkit.waiting import eventually

ORDERED = replace(CHAT_EVENTS, partitions=4, key="session", lease=timedelta(seconds=1.5))
KEYS = tuple(f"session-{number}" for number in range(12))


def turn(session: str, number: int) -> ChatCompleted:
    """Return a message of a key."""
    return ChatCompleted(engine="e", pool="p", model="m", session=session, text=str(number))


async def publish_turns(bus: Bus, count: int) -> None:
    """Publish so many messages of each key, the keys mixed."""
    for number in range(count):
        for session in KEYS:
            await bus.publish(turn(session, number), to=ORDERED)


class Seen:
    """What handlers were given, by key and in order; two of one key at a time are noted as an overlap."""

    def __init__(self) -> None:
        self.order: defaultdict[str, list[int]] = defaultdict(list)
        self.fences: defaultdict[str, set[int]] = defaultdict(set)
        self.overlaps = 0
        self._running: set[str] = set()

    async def handle(self, delivery: Delivery[ChatCompleted]) -> None:
        """Take a while over a message."""
        key = delivery.message.session
        self.overlaps += key in self._running
        self._running.add(key)
        await asyncio.sleep(0.002)
        self._running.discard(key)
        self.order[key].append(int(delivery.message.text))
        self.fences[key].add(delivery.fence)

    @property
    def total(self) -> int:
        """Messages that were handled."""
        return sum(map(len, self.order.values()))


@pytest.mark.usefixtures("_order")
class Ordering:
    """Partitions, owners, retries."""

    @pytest.fixture
    def _order(self, backend: Backend) -> None:
        needs(backend, Feature.ORDER)

    @pytest.mark.guarantee("G12")
    async def test_two_owners_keep_the_order_of_keys(self, backend: Backend) -> None:
        seen = Seen()
        async with backend.bus("memory") as first, backend.bus("memory") as second:
            first.subscribe(ORDERED, {ChatCompleted: seen.handle})
            second.subscribe(ORDERED, {ChatCompleted: seen.handle})
            await asyncio.sleep(1.0)  # until they have shared the partitions, or are about to
            await publish_turns(first, 20)
            await eventually(lambda: seen.total == 240, within=60)
        assert seen.order == {key: list(range(20)) for key in KEYS}
        assert seen.overlaps == 0

    @pytest.mark.guarantee("G12")
    async def test_lost_reply_is_read_again(self, backend: Backend) -> None:
        key = KEYS[0]
        partition = ORDERED.partition_of(turn(key, 0))
        lane = replace(lane_of(ORDERED, "memory", "me"), partition=partition)
        async with backend.bus("engine") as bus, bare(backend) as process:
            for number in range(3):
                await bus.publish(turn(key, number), to=ORDERED)
            owner = await process.owners.own(lane, lease_s=60)
            assert owner
            assert await process.owners.adopt(lane, owner)
            first = await process.owners.take(lane, owner, after="0-0", most=2)
            again = await process.owners.take(lane, owner, after="0-0", most=2)
            assert first
            assert again
            assert [entry.id for entry in first.entries] == [entry.id for entry in again.entries]
            assert all(entry.redelivered for entry in again.entries)
            rest = await process.owners.take(lane, owner, after=again.entries[-1].id, most=2)
            assert rest
            assert len(rest.entries) == 1

    @pytest.mark.guarantee("G12")
    async def test_newcomers_and_leavers_keep_the_order(self, backend: Backend) -> None:
        seen = Seen()
        async with backend.bus("memory") as steady, asyncio.TaskGroup() as tasks:
            steady.subscribe(ORDERED, {ChatCompleted: seen.handle})
            publishing = tasks.create_task(publish_turns(steady, 40))
            for _ in range(2):
                async with backend.bus("memory") as guest:
                    guest.subscribe(ORDERED, {ChatCompleted: seen.handle})
                    await asyncio.sleep(1.2)
            await publishing
            await eventually(lambda: seen.total == 480)
        assert seen.order == {key: list(range(40)) for key in KEYS}
        assert seen.overlaps == 0

    @pytest.mark.guarantee("G12")
    async def test_retry_blocks_its_key_only(self, backend: Backend) -> None:
        seen: list[str] = []

        async def handle(delivery: Delivery[ChatCompleted]) -> None:
            name = f"{delivery.message.session}.{delivery.message.text}"
            if name == "bad.0" and delivery.attempt == 1:
                raise Retry("not yet", delay_s=0.5)
            seen.append(name)

        one_partition = replace(ORDERED, partitions=2)
        good = next(key for key in KEYS if one_partition.partition_of(turn(key, 0)) == "0")
        async with backend.bus("memory") as memory:
            for number in range(3):
                for session in ("bad", good):
                    await memory.publish(turn(session, number), to=one_partition, partition="0")
            memory.subscribe(one_partition, {ChatCompleted: handle})
            await eventually(lambda: len(seen) == 6)
        assert [name for name in seen if name.startswith("bad")] == ["bad.0", "bad.1", "bad.2"]
        assert seen[:3] == [f"{good}.{number}" for number in range(3)]

    @pytest.mark.guarantee("G12")
    async def test_dead_letter_lets_its_key_go_on(self, backend: Backend) -> None:
        seen: list[str] = []

        async def handle(delivery: Delivery[ChatCompleted]) -> None:
            if delivery.message.text == "0":
                raise Reject(Problem(code="bad", message="no"))
            seen.append(delivery.message.text)

        async with backend.bus("memory") as memory:
            for number in range(3):
                await memory.publish(turn("one", number), to=ORDERED)
            memory.subscribe(ORDERED, {ChatCompleted: handle})
            await eventually(lambda: seen == ["1", "2"])
            assert memory.counters()["chat.events", "dead"] == 1

    @pytest.mark.guarantee("G12")
    async def test_drained_owner_hands_over_in_order(self, backend: Backend) -> None:
        one, two = Seen(), Seen()
        first = backend.bus("memory", grace_s=0.2)
        async with backend.bus("memory") as second:
            async with first:
                await publish_turns(second, 10)
                first.subscribe(ORDERED, {ChatCompleted: one.handle}, concurrency=2)
                await eventually(lambda: one.total >= 20)
            handed_over = one.total
            second.subscribe(ORDERED, {ChatCompleted: two.handle})
            await eventually(lambda: handed_over + two.total == 120)
        assert {key: one.order[key] + two.order[key] for key in KEYS} == {key: list(range(10)) for key in KEYS}
        assert all(min(two.fences[key]) > max(one.fences[key], default=0) > 0 for key in KEYS if key in one.fences)
