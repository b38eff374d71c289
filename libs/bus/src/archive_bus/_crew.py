"""Tasks that run handlers: one goes through all that is ready while handlers do not wait, and one each when they do."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Crew(Generic[T]):
    """Begins ``act`` for items, all of them beside each other; it is told the task that it runs in.

    ``act`` returns what is still to be awaited, None when it is over. A task for each item costs as much as a small
    handler does. So one task begins, and goes on to the next item as long as nothing keeps it waiting; what is left
    over when it has to wait gets tasks of its own in the same loop turn.
    """

    def __init__(self, act: "Callable[[T, asyncio.Task[None] | None], Awaitable[None] | None]") -> None:
        self._act = act
        self._ready: deque[T] = deque()
        self._called = False

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Let the task group own the tasks; before the first item."""
        self._tasks = tasks

    def put(self, item: T) -> None:
        """Run an item soon."""
        self._ready.append(item)
        if not self._called:
            self._called = True
            self._call()

    def _call(self) -> None:
        self._tasks.create_task(self._work())
        # Tasks begin in the order of their creation, so the first has got as far as it can by then.
        asyncio.get_running_loop().call_soon(self._call_more)

    def _call_more(self) -> None:
        self._called = False
        for _ in range(len(self._ready)):
            self._tasks.create_task(self._work())

    async def _work(self) -> None:
        task, ready, act = asyncio.current_task(), self._ready, self._act
        # A task that was cancelled in one item is of no use for the next, in which the cancellation might arrive late.
        while ready and not (task and task.cancelling()):
            if rest := act(ready.popleft(), task):
                await rest
        if ready and not self._called:
            self._called = True
            self._call()
