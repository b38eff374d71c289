"""Blocks of handlers that others can end, by the names for which they may."""

import asyncio
from collections.abc import Collection
from types import TracebackType
from typing import Protocol, Self


class Endable(Protocol):
    """A block under way."""

    def cancel(self) -> object:
        """End it."""
        ...


class Endings:
    """What is to end with each name."""

    def __init__(self) -> None:
        self._blocks: dict[str, set[Endable]] = {}

    @property
    def names(self) -> Collection[str]:
        """The names with which something would end."""
        return self._blocks.keys()

    def add(self, name: str, block: Endable) -> None:
        """Let a block end with a name."""
        self._blocks.setdefault(name, set()).add(block)

    def remove(self, name: str, block: Endable) -> None:
        """Forget a block, which may be named twice."""
        blocks = self._blocks.get(name)
        if blocks is not None:
            blocks.discard(block)
            if not blocks:
                del self._blocks[name]

    def end(self, name: str) -> None:
        """End what is to end with a name."""
        for block in tuple(self._blocks.get(name, ())):
            block.cancel()


class Ending:
    """A block that ends with one of several names, each of a list of its own.

    The task at hand is cancelled once, as ``asyncio.timeout`` does it: what the block awaits while it cleans up is not
    cancelled again, as it would be in a scope of anyio, which costs ten times as much. A shield of anyio inside it
    shields nothing.
    """

    __slots__ = ("_before", "_names", "_task", "ended")

    def __init__(self, *names: tuple[Endings, str]) -> None:
        self._names = names
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        self.ended = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._before = self._task.cancelling()
        for endings, name in self._names:
            endings.add(name, self)
        return self

    def cancel(self) -> None:
        """End the block."""
        if self._task and not self.ended:
            self.ended = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        for endings, name in self._names:
            endings.remove(name, self)
        task, self._task = self._task, None
        if not self.ended or task is None:
            return False
        return task.uncancel() <= self._before and kind is not None and issubclass(kind, asyncio.CancelledError)
