"""Cancellation: a broadcast that running work hears, and a mark that work finds which begins later.

A process that follows the broadcast knows most marks without asking: it has heard what they say.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import anyio

from archive_bus._delivery import Received
from archive_bus._ending import Endings
from archive_bus._errors import BusUnavailable
from archive_bus._heard import LIFE_S, Heard
from archive_bus._lease import clock
from archive_bus._lines import place_of
from archive_bus._transport import Entry, Transport
from archive_contracts.control import CancelRequested
from archive_contracts.streams import CONTROL, Server

log = logging.getLogger(__name__)

TOMBSTONE_LIFE = timedelta(seconds=LIFE_S)
CURRENT_S = 3.0
"""How long after a look at the broadcast it is trusted; it is looked at once a second at least."""
PAUSE_S = 0.2

Receive = Callable[[Entry], Awaitable[Received[Any] | None]]


class Cancels:
    """What this process runs that somebody may cancel, and what it has heard of cancellations."""

    def __init__(self, transport: Transport, receive: Receive) -> None:
        self._transport = transport
        self._receive = receive
        self.endings = Endings()
        self._heard = Heard(clock)

    async def mark(self, target: str) -> None:
        """Leave a mark for whoever begins to work on ``target`` within the hour."""
        await self._transport.mark(f"cancelled:{target}", server=Server.BUS, lifetime=TOMBSTONE_LIFE)

    async def marked(self, target: str) -> bool:
        """Whether somebody asked to stop ``target``; the server is asked when it was not to be heard for certain."""
        known = self._heard.knows(target)
        if known is None:
            return await self._transport.marked(f"cancelled:{target}", server=Server.BUS)
        return known

    @contextmanager
    def scope(self, *targets: str) -> Generator[anyio.CancelScope, None, None]:
        """Run a block that ends when one of the targets is cancelled; the same one may be named twice."""
        named = frozenset(targets)
        with anyio.CancelScope() as scope:
            for target in named:
                self.endings.add(target, scope)
            try:
                yield scope
            finally:
                for target in named:
                    self.endings.remove(target, scope)

    async def obey(self) -> None:
        """Cancel what the control stream names, and remember it, until cancelled; outlives outages."""
        key = CONTROL.physical()
        after, told = f"{int((time.time() - LIFE_S) * 1000)}-0", ""
        while True:
            try:
                after = await self._catch_up(key, after)
                async for batch in self._tail(key, after):
                    told = ""
                    after = await self._obey(batch) or after
                    self._heard.current(for_s=CURRENT_S)
            except BusUnavailable as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("%s: %s; trying again", key, told)
                await asyncio.sleep(PAUSE_S)

    async def _catch_up(self, key: str, after: str) -> str:
        """Hear what is on the stream behind a place, and whether that is all that came behind it."""
        most = CONTROL.max_length or 1
        entries = await self._transport.read(key, server=CONTROL.server, after="0-0", count=most)
        # A stream that is not full has lost nothing; of a full one the oldest are gone.
        missed = len(entries) >= most and place_of(entries[0].id) > place_of(after)
        after = await self._obey([entry for entry in entries if place_of(entry.id) > place_of(after)]) or after
        self._heard.caught_up(missed=missed)
        return after

    def _tail(self, key: str, after: str) -> AsyncIterator[Sequence[Entry]]:
        return self._transport.tail(key, server=CONTROL.server, after=after)

    async def _obey(self, entries: Sequence[Entry]) -> str:
        """Take in entries; returns the place of the last one."""
        for entry in entries:
            received = await self._receive(entry)
            if received and isinstance(received.message, CancelRequested):
                self._heard.add(received.message.target)
                self.endings.end(received.message.target)
        return entries[-1].id if entries else ""
