"""Many small requests of one event-loop turn become one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Coalescer(Generic[T, R]):
    """Collects the items of a loop turn and hands them to ``flush`` together.

    ``flush`` returns one result for each item, in order; its exception reaches every waiter of the batch.
    """

    def __init__(self, flush: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._flush = flush
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Let the task group own what is flushed; before the first ``put``."""
        self._tasks = tasks

    def put(self, item: T) -> asyncio.Future[R]:
        """Queue an item; the future holds its result."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._start)
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        return future

    def _start(self) -> None:
        batch, self._waiting = self._waiting, []
        self._tasks.create_task(self._run(batch))

    async def _run(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - not swallowed: every waiter of the batch gets it
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # a waiter that has gone away is no reason for a warning
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
