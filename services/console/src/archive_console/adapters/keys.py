"""The keys of this installation, followed from their journal."""

import asyncio

from archive_bus import Bus, BusUnavailable, Received
from archive_contracts.base import Message
from archive_contracts.keys import BOOK, KeyBook, KeyCreated, KeyRevoked, KeyRotated
from archive_contracts.streams import KEYS_JOURNAL

PAUSE_S = 0.2


class KeyFollower:
    """Keeps every key in memory: one revoked anywhere is void here a moment later."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._book = KeyBook()
        self._read = asyncio.Event()
        self._reached = "0-0"

    def book(self) -> KeyBook | None:
        """Return the keys, or None before they were read."""
        return self._book if self._read.is_set() else None

    async def loaded(self) -> KeyBook:
        """Wait until the keys were read."""
        await self._read.wait()
        return self._book

    async def follow(self) -> None:
        """Keep the keys up to date until cancelled."""
        while not self._read.is_set():
            try:
                for received in await self._bus.journal(KEYS_JOURNAL, BOOK):
                    self._take(received)
                self._read.set()
            except BusUnavailable:
                await asyncio.sleep(PAUSE_S)
        async for received in self._bus.follow_journal(KEYS_JOURNAL, BOOK, after=self._reached):
            if received:
                self._take(received)

    def _take(self, received: Received[Message]) -> None:
        if isinstance(received.message, KeyCreated | KeyRotated | KeyRevoked):
            self._book.take(received.message)
        self._reached = received.entry_id
