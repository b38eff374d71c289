"""Whether those who wait for answers still live."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import anyio

from archive_bus._ending import Endings
from archive_bus._errors import BusUnavailable
from archive_bus._transport import Transport

LOOK_S = 1.0


class Callers:
    """The processes that this one works for.

    A process that ends takes its reply stream with it, and that of a killed one expires; asked about once a second, so
    that also a handler hears of it that has nothing to say yet.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.endings = Endings()

    @contextmanager
    def scope(self, process: str) -> Generator[anyio.CancelScope, None, None]:
        """Run a block that ends when a process is gone; one without a name never is."""
        with anyio.CancelScope() as scope:
            if not process:
                yield scope
                return
            self.endings.add(process, scope)
            try:
                yield scope
            finally:
                self.endings.remove(process, scope)

    async def watch(self) -> None:
        """End the blocks of processes that are gone, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            processes = list(self.endings.names)
            if not processes:
                continue
            try:
                listening = await self._transport.listening(processes)
            except BusUnavailable:
                continue
            for process, there in zip(processes, listening, strict=True):
                if not there:
                    self.endings.end(process)
