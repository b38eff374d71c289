"""Runs workers for engines that were added by API, and stops them when they are removed."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from archive_bus import Bus
from archive_contracts.engine import EVERY_ENGINE, EngineRegistry, EngineSpec
from archive_contracts.streams import ENGINE_REGISTRY
from archive_engine.domain.errors import EngineError

log = logging.getLogger(__name__)

Open = Callable[[EngineSpec], AbstractAsyncContextManager[None]]
"""Runs a worker for an engine while its block runs; raises EngineError when the engine cannot be used as described."""


class Host:
    """Follows the journal of engines, and keeps one worker running for each."""

    def __init__(self, bus: Bus, open_worker: Open) -> None:
        self._bus = bus
        self._open = open_worker
        self._registry = EngineRegistry()
        self._running: dict[str, tuple[EngineSpec, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Host until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            async for received in self._bus.follow_journal(ENGINE_REGISTRY, EVERY_ENGINE):
                if received:
                    self._registry.hear(received.message)
                else:
                    # Only once the journal is read: what was added and removed long ago must not start for a moment.
                    self._arrange(tasks)

    def _arrange(self, tasks: asyncio.TaskGroup) -> None:
        wanted = self._registry.specs
        for name, (spec, task) in list(self._running.items()):
            if wanted.get(name) != spec:
                task.cancel()
                del self._running[name]
        for name, spec in wanted.items():
            if name not in self._running:
                self._running[name] = (spec, tasks.create_task(self._serve(spec)))

    async def _serve(self, spec: EngineSpec) -> None:
        try:
            async with self._open(spec):
                await asyncio.Event().wait()
        except EngineError as error:
            log.warning("the engine %r cannot be served: %s", spec.name, error)
