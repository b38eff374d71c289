"""Replies too large for an entry, and those that have to wait behind one."""

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any

from archive_bus._errors import BusError


class Large:
    """A reply that waits until a blob store has it, or one before it; need not be awaited."""

    __slots__ = ("_queueing",)

    def __init__(self, queueing: "asyncio.Task[Awaitable[bool] | BusError]") -> None:
        self._queueing = queueing

    @property
    def passed(self) -> bool:
        """Whether it has its place among the replies, so that what follows need not wait for it."""
        return self._queueing.done() and not isinstance(self._queueing.result(), BusError)

    async def queued(self) -> Awaitable[bool]:
        """Wait until it has its place among the replies; returns what tells whether it was written.

        Raises:
            BusError: it never gets one, and what follows would leave a gap.
        """
        outcome = await asyncio.shield(self._queueing)
        if isinstance(outcome, BusError):
            raise outcome
        return outcome

    def __await__(self) -> Generator[Any, None, bool]:
        return self._wait().__await__()

    async def _wait(self) -> bool:
        return await (await self.queued())
