"""Handlers share a task as long as they do not wait, and hold up nobody when they do."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from archive_bus._coalesce import Batches
from archive_bus._crew import Crew


async def test_quick_items_share_a_task() -> None:
    ran: list[tuple[int, asyncio.Task[None] | None]] = []

    def act(item: int, task: asyncio.Task[None] | None) -> Coroutine[Any, Any, None] | None:
        ran.append((item, task))
        return asyncio.sleep(0) if item == 4 else None

    crew = Crew[int](act)
    async with asyncio.TaskGroup() as tasks:
        crew.run_in(tasks)
        for item in range(5):
            crew.put(item)
    assert [item for item, _ in ran] == [0, 1, 2, 3, 4]
    assert len({task for _, task in ran}) == 1


async def test_waiting_item_holds_up_nobody() -> None:
    everybody, release = asyncio.Barrier(4), asyncio.Event()

    async def act(item: int, task: asyncio.Task[None] | None) -> None:
        del item, task
        await everybody.wait()
        await release.wait()

    crew = Crew[int](act)
    async with asyncio.TaskGroup() as tasks:
        crew.run_in(tasks)
        for item in range(3):
            crew.put(item)
        await asyncio.wait_for(everybody.wait(), 30)
        assert not everybody.broken
        release.set()


async def test_cancelled_task_takes_nothing_more() -> None:
    ran: list[int] = []

    async def act(item: int, task: asyncio.Task[None] | None) -> None:
        ran.append(item)
        await asyncio.sleep(0)
        if item == 0:
            assert task is asyncio.current_task()
            assert task
            task.cancel()  # as a lease that is lost when its handler has just ended

    crew = Crew[int](act)
    async with asyncio.TaskGroup() as tasks:
        crew.run_in(tasks)
        for item in range(4):
            crew.put(item)
    assert sorted(ran) == [0, 1, 2, 3]


async def test_withdrawn_item_is_not_sent() -> None:
    sent: list[dict[str, None]] = []

    async def flush(batch: dict[str, None]) -> None:
        sent.append(batch)

    batches = Batches[str, None](flush)
    async with asyncio.TaskGroup() as tasks:
        batches.run_in(tasks)
        for item in ("one", "three"):
            batches.add(item, None)
        assert batches.withdraw("one")
        await batches.idle()
    assert [list(batch) for batch in sent] == [["three"]]
    assert not batches.withdraw("three")
