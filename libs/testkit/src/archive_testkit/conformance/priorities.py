"""Two lanes share the slots of a worker by weight."""

import asyncio

import pytest

from archive_bus import WEIGHTS, Bus, Delivery, Fair, Gate
from archive_contracts.chat import Priority
from archive_contracts.engine import EmbedRequested
from archive_contracts.streams import ENGINE_JOBS
from archive_testkit.conformance.backend import Backend, Feature, needs
from archive_testkit.waiting import eventually


def serve(bus: Bus, slots: int, handler: "Handler") -> None:
    """Read both lanes of a pool, a message only with a free slot."""
    fair = Fair(Gate(slots))
    for priority in ENGINE_JOBS.priorities:
        bus.subscribe(
            ENGINE_JOBS,
            {EmbedRequested: handler},
            partition=ENGINE_JOBS.lane("small", priority),
            slots=fair.share(WEIGHTS[priority]),
            concurrency=slots,
            prefetch=1,
        )


async def ask(bus: Bus, priority: Priority, count: int) -> None:
    """Publish so many jobs to a lane."""
    for _ in range(count):
        await bus.publish(
            EmbedRequested(texts=(priority,)), to=ENGINE_JOBS, partition=ENGINE_JOBS.lane("small", priority)
        )


class Handler:
    """Notes what came, in order."""

    def __init__(self, *, takes_s: float = 0.002) -> None:
        self.came: list[str] = []
        self._takes_s = takes_s

    async def __call__(self, delivery: Delivery[EmbedRequested]) -> None:
        """Take a while over a job."""
        self.came.append(delivery.message.texts[0])
        await asyncio.sleep(self._takes_s)


@pytest.mark.usefixtures("_priorities")
class Prioritising:
    """Interactive before batch, and batch all the same."""

    @pytest.fixture
    def _priorities(self, backend: Backend) -> None:
        needs(backend, Feature.PRIORITIES)

    @pytest.mark.guarantee("G14")
    async def test_backlogs_share_by_weight(self, backend: Backend) -> None:
        handler = Handler()
        async with backend.bus("router") as router, backend.bus("engine") as engine:
            await ask(router, "batch", 60)
            await ask(router, "interactive", 60)
            serve(engine, 1, handler)
            await eventually(lambda: len(handler.came) == 120)
        first = handler.came[:50]
        assert 6 <= first.count("batch") <= 20

    async def test_lone_lane_has_all_slots(self, backend: Backend) -> None:
        handler = Handler(takes_s=60)
        async with backend.bus("router") as router, backend.bus("engine", grace_s=0.1) as engine:
            serve(engine, 4, handler)
            await ask(router, "batch", 4)
            await eventually(lambda: len(handler.came) == 4, within=30)
            assert engine.counters().get(("engine.jobs", "done"), 0) == 0

    @pytest.mark.guarantee("G14")
    async def test_held_job_goes_to_a_free_worker(self, backend: Backend) -> None:
        slow, free = Handler(takes_s=30), Handler()
        busy, other = backend.bus("engine", grace_s=0.1), backend.bus("engine")
        async with backend.bus("router") as router, busy:
            serve(busy, 1, slow)
            await asyncio.sleep(0.2)  # until both lanes are being read
            await asyncio.gather(ask(router, "batch", 1), ask(router, "interactive", 1))
            await eventually(lambda: len(slow.came) == 1)
            async with other:
                serve(other, 1, free)
                await eventually(lambda: len(free.came) == 1, within=8)
        assert sorted(slow.came + free.came) == ["batch", "interactive"]
