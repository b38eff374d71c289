"""Many small requests of one event-loop turn become one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Coalescer(Generic[T, R]):
    """Collects the items of a loop turn and hands them to ``flush`` together.

    ``flush`` returns one result for each item, in order; its exception is told for each item of the batch. Items may
    wait for others as long as ``linger`` says when the first comes, in seconds.
    """

    def __init__(
        self, flush: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, linger: Callable[[], float] | None = None
    ) -> None:
        self._flush = flush
        self._linger = linger
        self._later: asyncio.TimerHandle | None = None
        self._soon = False
        self._waiting: dict[T, Callable[[T, R | Exception], None]] = {}
        self._flushing: set[asyncio.Task[None]] = set()

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Let the task group own what is flushed; before the first item."""
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()

    def tell(self, item: T, then: Callable[[T, R | Exception], None]) -> None:
        """Queue an item; ``then`` is called with it and its result, or what kept it from having one."""
        self._waiting[item] = then
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

    def put(self, item: T) -> asyncio.Future[R]:
        """Queue an item; the future holds its result."""
        future: asyncio.Future[R] = self._loop.create_future()
        self.tell(item, partial(_resolve, future))
        return future

    def withdraw(self, item: T) -> bool:
        """Take back an item; False when it is on its way."""
        return self._waiting.pop(item, None) is not None

    async def idle(self) -> None:
        """Wait until everything has its result."""
        while self._waiting or self._flushing:
            self.hurry()
            await asyncio.wait(self._flushing) if self._flushing else await asyncio.sleep(0)

    def _start(self) -> None:
        self._soon = False
        batch, self._waiting = self._waiting, {}
        if not batch:
            return
        task = self._tasks.create_task(self._run(batch))
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)

    async def _run(self, batch: dict[T, Callable[[T, R | Exception], None]]) -> None:
        try:
            results: Sequence[R | Exception] = await self._flush(list(batch))
        except Exception as error:  # noqa: BLE001 - not swallowed: it is told for each item
            results = [error] * len(batch)
        for (item, then), result in zip(batch.items(), results, strict=True):
            then(item, result)


def _resolve(future: "asyncio.Future[R]", item: object, result: R | Exception) -> None:
    del item
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
        future.exception()  # a waiter that has gone away is no reason for a warning
    else:
        future.set_result(result)
