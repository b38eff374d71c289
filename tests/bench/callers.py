"""Many callers at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from meter import Meter


async def publish_at_once(publish: Callable[[], Awaitable[object]], meter: Meter, *, at_once: int) -> None:
    """Let ``at_once`` callers publish one message after another until the meter has its last."""
    ended = False

    async def caller() -> None:
        nonlocal ended
        while not ended:
            await publish()
            ended = ended or meter.hit()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(caller())


async def ask_at_once(ask: Callable[[], Awaitable[object]], count: int, *, at_once: int) -> list[float]:
    """Let ``at_once`` callers ask one question after another; return the seconds of each answer."""
    took: list[float] = []

    async def caller() -> None:
        for _ in range(count // at_once):
            began = time.perf_counter()
            await ask()
            took.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(caller())
    return took
