"""The doors for foreign publishers: followed from their journal, each served while it is open."""

import asyncio
from collections.abc import Callable

from archive_bus import Bus, BusUnavailable, Received, Subscription
from archive_contracts.base import Message
from archive_contracts.publishers import LIST, IngressCreated, IngressRemoved
from archive_contracts.streams import PUBLISHERS_JOURNAL
from archive_telemetry import get_logger

PAUSE_S = 0.2
log = get_logger(__name__)


class IngressFollower:
    """Opens and closes doors as operators say, without a restart; ``serve`` begins to handle one."""

    def __init__(self, bus: Bus, serve: Callable[[IngressCreated], Subscription]) -> None:
        self._bus = bus
        self._serve = serve
        self._open: dict[str, Subscription] = {}
        self._reached = "0-0"

    async def follow(self) -> None:
        """Serve what is open until cancelled."""
        await self._load()
        async for received in self._bus.follow_journal(PUBLISHERS_JOURNAL, LIST, after=self._reached):
            if received:
                await self._take(received)

    async def _load(self) -> None:
        """Read the journal first as a whole: a door that was closed long ago is not opened for a moment."""
        while True:
            try:
                entries = await self._bus.journal(PUBLISHERS_JOURNAL, LIST)
                break
            except BusUnavailable:
                await asyncio.sleep(PAUSE_S)
        newest: dict[str, Received[Message]] = {}
        for received in entries:
            if isinstance(received.message, IngressCreated | IngressRemoved):
                newest[received.message.name] = received
            self._reached = received.entry_id
        for received in newest.values():
            await self._take(received)

    async def _take(self, received: Received[Message]) -> None:
        message = received.message
        if not isinstance(message, IngressCreated | IngressRemoved):
            return
        if former := self._open.pop(message.name, None):
            await former.close()
        if isinstance(message, IngressCreated):
            self._open[message.name] = self._serve(message)
        log.info("ingress", name=message.name, open=message.name in self._open)
