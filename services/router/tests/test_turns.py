"""Waiting for a lane: in turn, bounded, until the deadline; and what routers tell each other."""

import asyncio

import pytest

from archive_contracts.base import Problem
from archive_contracts.chat import Priority
from archive_contracts.engine import EngineLeft, EngineRegistered, ModelCard, Target
from archive_router.adapters.learned import Learned
from archive_router.domain.affinity import Prefixes
from archive_router.domain.lanes import Lanes
from archive_router.handlers.turns import Turns
from archive_testkit.servers import RedisServer

TARGET = Target(pool="p", model="m", worker="w", instance="i")


class Scene:
    """One lane with two slots, and those who want to be served by it."""

    def __init__(self, *, limit: int = 8) -> None:
        self.lanes = Lanes()
        self.turns = Turns(self.lanes, clock=lambda: 0.0, limit=limit)
        self.order: list[str] = []

    def beat(self, *, waiting: int = 0, busy: int = 0, service_s: float = 1.0) -> None:
        event = EngineRegistered(
            worker="w",
            engine="e",
            pool="p",
            models=(ModelCard(id="m"),),
            capabilities=("chat",),
            slots=2,
            busy=busy,
            waiting=waiting,
            service_s=service_s,
        )
        self.lanes.hear(event, now=0.0)
        self.turns.move()

    async def want(
        self, name: str, *, priority: Priority = "interactive", budget_s: float | None = None
    ) -> Target | Problem | None:
        taken = await self.turns.take([TARGET], tenant=name, priority=priority, budget_s=budget_s)
        self.order.append(name)
        return taken


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_free_lane_takes_at_once(scene: Scene) -> None:
    scene.beat()
    assert await scene.want("a") == TARGET
    assert scene.lanes.sent_to("w") == 1


async def test_full_lane_makes_wait_in_fair_turns(scene: Scene) -> None:
    scene.beat(busy=2, waiting=2)
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(scene.want("greedy")) for _ in range(4)]
        await settled()
        waiting.append(tasks.create_task(scene.want("late")))
        await settled()
        assert (scene.order, scene.turns.waiting("p")) == ([], 5)
        scene.beat(busy=2, waiting=0)
        await settled()
        assert sorted(scene.order) == ["greedy", "late"]
        scene.beat()
    assert all(task.result() == Target(pool="p", model="m") for task in waiting)
    assert scene.turns.waiting("p") == 0


async def test_batch_waits_for_interactive(scene: Scene) -> None:
    scene.beat(busy=2, waiting=2)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(scene.want("batch", priority="batch"))
        await settled()
        for _ in range(2):
            tasks.create_task(scene.want("urgent"))
        await settled()
        for _ in range(4):
            scene.beat(busy=2, waiting=1)
            await settled()
    assert scene.order.index("urgent") < 2
    assert scene.order[-1] == "batch"


async def test_deadline_that_cannot_be_met_is_refused(scene: Scene) -> None:
    scene.beat(busy=2, waiting=40)
    refused = await scene.want("a", budget_s=5.0)
    assert isinstance(refused, Problem)
    assert (refused.status, refused.retry_after_s) == (429, 16.5)


async def test_queue_is_bounded_for_each_tenant() -> None:
    scene = Scene(limit=4)
    scene.beat(busy=2, waiting=2)
    async with asyncio.TaskGroup() as tasks:
        held = [tasks.create_task(scene.want("greedy")) for _ in range(2)]
        await settled()
        refused = await scene.want("greedy")
        assert isinstance(refused, Problem)
        assert refused.status == 429
        held.append(tasks.create_task(scene.want("other")))
        await settled()
        assert scene.turns.waiting("p") == 3
        scene.beat()
        scene.beat()


async def test_who_waits_too_long_is_told(scene: Scene) -> None:
    scene.beat(busy=2, waiting=5, service_s=0.2)
    late = await scene.turns.take([TARGET], tenant="a", priority="interactive", budget_s=1.0)
    assert isinstance(late, Problem)
    assert (late.status, scene.turns.waiting("p")) == (429, 0)


async def test_vanished_lane_lets_go(scene: Scene) -> None:
    scene.beat(busy=2, waiting=2)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(scene.want("a"))
        await settled()
        scene.lanes.hear(EngineLeft(worker="w", pool="p"), now=0.0)
        scene.turns.move()
    assert waiting.result() is None
    assert isinstance(await scene.want("b"), Problem)


async def test_second_lane_serves_when_first_is_late(scene: Scene) -> None:
    scene.beat(busy=2, waiting=40)
    other = EngineRegistered(
        worker="x", engine="x", pool="q", models=(ModelCard(id="m"),), capabilities=("chat",), slots=1
    )
    scene.lanes.hear(other, now=0.0)
    spare = Target(pool="q", model="m")
    assert await scene.turns.take([TARGET, spare], tenant="a", priority="interactive", budget_s=5.0) == spare


async def test_who_leaves_gives_up_the_place(scene: Scene) -> None:
    scene.beat(busy=2, waiting=2)
    async with asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(scene.want("gone"))
        stays = tasks.create_task(scene.want("stays"))
        await settled()
        gone.cancel()
        await settled()
        assert scene.turns.waiting("p") == 1
        scene.beat(busy=2, waiting=1)
        assert isinstance(await stays, Target)


async def test_routers_share_what_they_learn(redis_url: str) -> None:
    first, second = Prefixes(), Prefixes()
    one, two = (Learned(redis_url, known, replica=name) for known, name in ((first, "one"), (second, "two")))
    one.note(("k1", "k2"), "w7")
    assert await one.exchange()
    assert await two.exchange()
    match = second.match(("k1", "k2"), prompt_chars=1000)
    assert match
    assert match.worker == "w7"
    assert await one.exchange()
    assert len(first) == 0


async def test_router_works_alone_without_the_state_server(redis_server: RedisServer) -> None:
    known = Prefixes()
    learned = Learned(redis_server.url, known, replica="one")
    redis_server.kill()
    for number in range(600):
        learned.note((f"k{number}",), "w")
    assert not await learned.exchange()
    redis_server.start()
    async with asyncio.timeout(20):
        while not await learned.exchange():
            await asyncio.sleep(0.05)
    other = Prefixes()
    assert await Learned(redis_server.url, other, replica="two").exchange()
    assert len(other) == 500


@pytest.mark.parametrize("odd", ["[", "{}", "[1, [2], [3, 4], ['a']]", '[["w", [1, null]], ["w", "k"], []]'])
async def test_odd_findings_are_passed_over(redis_url: str, odd: str) -> None:
    from redis.asyncio import Redis

    async with Redis.from_url(redis_url) as client:  # pyright: ignore[reportUnknownMemberType]
        await client.xadd("router:learned", {"replica": "x", "found": odd})
    known = Prefixes()
    assert await Learned(redis_url, known, replica="one").exchange()
    assert len(known) == 0
