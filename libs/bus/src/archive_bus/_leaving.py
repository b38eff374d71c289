"""How a consumer leaves its lane: what runs may end, and others get the rest."""

import asyncio
import contextlib
import logging
import time
from collections import Counter

from archive_bus._adrift import Adrift
from archive_bus._errors import BusUnavailable
from archive_bus._held import Held
from archive_bus._settlers import Settlers
from archive_bus._transport import Lane, Transport

log = logging.getLogger(__name__)

CLEAN_UP_S = 0.5
"""How long handlers that were cut off may clean up before others get what they had."""
TELL_S = 5.0
"""How long the server is told of the end: one that does not answer by then hears of it later, or never."""


class Leaving:
    """Empties a consumer's hands once nothing new comes into them; ``counts`` tells what was handed back."""

    def __init__(
        self,
        lane: Lane,
        transport: Transport,
        *,
        held: dict[str, Held],
        adrift: Adrift,
        settlers: Settlers,
        counts: Counter[str],
    ) -> None:
        self._counts = counts
        self._lane = lane
        self._transport = transport
        self._held = held
        self._adrift = adrift
        self._settlers = settlers

    async def leave(self, grace_s: float) -> None:
        """Hand back what waits, let what runs finish within the grace, and hand back what is left of that."""
        until = time.monotonic() + grace_s
        for held in [held for held in self._held.values() if not held.begun]:
            held.settled = True
            del self._held[held.entry.id]
            self._adrift.add(held)
        with contextlib.suppress(BusUnavailable, TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._give_back()
        await self._wait(max(0.0, until - time.monotonic()))
        self._cut()
        await self._wait(CLEAN_UP_S)
        try:
            async with asyncio.timeout(TELL_S):
                await self._give_back()
                await self._settlers.ack.idle()
                await self._give_back()
                await self._transport.reap(self._lane, leaving=True)
        except (BusUnavailable, TimeoutError):
            for held in self._held.values():
                self._adrift.add(held)  # also what nobody knows to be acknowledged: if it is, nothing comes of this
            log.warning("%s: the end of %d runs cannot be told yet", self._lane.key, len(self._adrift.ids))

    async def _wait(self, timeout_s: float) -> None:
        """Wait until nothing runs, for a while."""
        running = [held.task for held in self._held.values() if held.begun and held.task]
        if running:
            await asyncio.wait(running, timeout=timeout_s)

    def _cut(self) -> None:
        """Cancel what still runs."""
        for held in self._held.values():
            if held.begun and not held.acking:
                held.lost = held.settled = True
                self._adrift.add(held)
                if held.task:
                    held.task.cancel()

    async def _give_back(self) -> None:
        """Hand back what is adrift, and what the server gave to a read that was already cancelled."""
        self._counts["handed_back"] += await self._adrift.hand_back()
        known = self._held.keys() | self._adrift.ids
        strays = set(await self._transport.unbegun(self._lane)) - known - self._held.keys() - self._adrift.ids
        if strays:
            await self._transport.release(self._lane, dict.fromkeys(strays, ""))
            self._counts["handed_back"] += len(strays)
