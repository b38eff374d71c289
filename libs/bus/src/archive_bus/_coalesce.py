"""Many small requests of one event-loop turn become one."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
V = TypeVar("V")
R = TypeVar("R")


class Batches(Generic[T, V]):
    """Collects the items of a loop turn, each with what belongs to it, and hands them to ``flush`` together.

    Items may wait for others as long as ``linger`` says when the first comes, in seconds. What ``flush`` raises ends
    the task group that owns its tasks.
    """

    def __init__(
        self, flush: Callable[[dict[T, V]], Coroutine[Any, Any, None]], *, linger: Callable[[], float] | None = None
    ) -> None:
        self._flush = flush
        self._linger = linger
        self._later: asyncio.TimerHandle | None = None
        self._soon = False
        self._waiting: dict[T, V] = {}
        self._flushing: set[asyncio.Task[None]] = set()

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Let the task group own what is flushed; before the first item."""
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()

    def add(self, item: T, its: V) -> None:
        """Queue an item."""
        self._waiting[item] = its
        if self._later or self._soon:
            return
        if wait_s := self._linger() if self._linger else 0.0:
            self._later = self._loop.call_later(wait_s, self.hurry)
        else:
            self.hurry()

    def hurry(self) -> None:
        """Let what waits go in this loop turn."""
        if self._later:
            self._later.cancel()
            self._later = None
        if self._waiting and not self._soon:
            self._soon = True
            self._loop.call_soon(self._start)

    def withdraw(self, item: T) -> bool:
        """Take back an item; False when it is on its way."""
        if item not in self._waiting:
            return False
        del self._waiting[item]
        return True

    async def idle(self) -> None:
        """Wait until everything is flushed."""
        while self._waiting or self._flushing:
            self.hurry()
            await asyncio.wait(self._flushing) if self._flushing else await asyncio.sleep(0)

    def _start(self) -> None:
        self._soon = False
        batch, self._waiting = self._waiting, {}
        if not batch:
            return
        task = self._tasks.create_task(self._flush(batch))
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)


class Coalescer(Generic[T, R]):
    """Asks for many items at once: ``ask`` returns one result for each, in order, or raises for all of them."""

    def __init__(self, ask: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._ask = ask
        self._batches = Batches[T, asyncio.Future[R]](self._flush)

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Let the task group own what is asked; before the first item."""
        self._batches.run_in(tasks)

    def put(self, item: T) -> asyncio.Future[R]:
        """Queue an item; the future holds its result."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._batches.add(item, future)
        return future

    def withdraw(self, item: T) -> bool:
        """Take back an item, whose future ends never; False when it is on its way."""
        return self._batches.withdraw(item)

    async def _flush(self, batch: dict[T, asyncio.Future[R]]) -> None:
        try:
            results: Sequence[R | Exception] = await self._ask(list(batch))
        except Exception as error:  # noqa: BLE001 - not swallowed: it is told for each item
            results = [error] * len(batch)
        for future, result in zip(batch.values(), results, strict=True):
            if not future.done():
                _settle(future, result)


def _settle(future: "asyncio.Future[R]", result: R | Exception) -> None:
    if isinstance(result, Exception):
        future.set_exception(result)
        future.exception()  # a waiter that has gone away is no reason for a warning
    else:
        future.set_result(result)
