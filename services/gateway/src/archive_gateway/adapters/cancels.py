"""Cancellation on the way out: the one who causes it has left, or is being told about it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from archive_bus import Bus, BusUnavailable
from archive_telemetry import get_logger

log = get_logger(__name__)

PATIENCE_S = 5.0


class Canceller:
    """Sends cancellations from tasks of its own, since the request that causes one is ending itself."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._tasks: asyncio.TaskGroup | None = None
        self._waiting: set[asyncio.Task[None]] = set()

    def use(self, tasks: asyncio.TaskGroup) -> None:
        """Run in this group from now on."""
        self._tasks = tasks

    def soon(self, target: str, *, reason: str) -> None:
        """Cancel a request, a job or a run, without waiting for it."""
        if self._tasks is None:
            raise RuntimeError("the canceller has no task group yet")
        self._tasks.create_task(_alone(self._cancel(target, reason)))

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what follows when a client has left; a drain ends it."""
        if self._tasks is None:
            raise RuntimeError("the canceller has no task group yet")
        task = self._tasks.create_task(_alone(work))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def let_go(self) -> None:
        """Give up what still waits: it belongs to streams that live on without this process."""
        for task in tuple(self._waiting):
            task.cancel()

    async def _cancel(self, target: str, reason: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._bus.cancel(target, reason=reason)
        except (BusUnavailable, TimeoutError):
            # The deadline that the request carries ends the work all the same, only later.
            log.warning("a cancellation was lost", target=target)


async def _alone(work: Coroutine[Any, Any, None]) -> None:
    """Do what no request waits for: what goes wrong with it ends nothing else."""
    try:
        await work
    except Exception:  # an edge: whoever began it has gone, and the group that it runs in is the whole gateway's
        log.exception("what follows when a client has left went wrong")
