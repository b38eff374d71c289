"""The keys of this installation: followed from their journal, and written to it."""

import asyncio

from archive_bus import Bus, BusUnavailable, Origin, Received
from archive_contracts.base import Message
from archive_contracts.keys import BOOK, KeyBook, KeyCreated, KeyEvent, KeyRevoked, KeyRotated
from archive_contracts.streams import KEYS_JOURNAL
from archive_gateway.domain.identity import after

PAUSE_S = 0.2
WRITE_S = 2.0


class KeyFollower:
    """Keeps every key in memory.

    The journal itself is what tells of a change, so that a key revoked anywhere is void here a moment later; and a
    server that is away leaves the keys as they were.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._book = KeyBook()
        self._read = asyncio.Event()
        self._reached = "0-0"
        self._moved = asyncio.Condition()

    def book(self) -> KeyBook | None:
        """Return the keys, or None before they were read."""
        return self._book if self._read.is_set() else None

    async def loaded(self) -> KeyBook:
        """Wait until the keys were read."""
        await self._read.wait()
        return self._book

    async def follow(self) -> None:
        """Keep the keys up to date until cancelled."""
        await self._load()
        async for received in self._bus.follow_journal(KEYS_JOURNAL, BOOK, after=self._reached):
            if received:
                await self._take(received)

    async def append(self, event: KeyEvent, *, tenant: str, correlation: str) -> None:
        """Write an event down, and return when it counts here. Raises BusUnavailable."""
        origin = Origin(tenant=tenant, correlation=correlation)
        entry = await self._bus.append(event, to=KEYS_JOURNAL, entity=BOOK, origin=origin, timeout=WRITE_S)
        try:
            async with asyncio.timeout(WRITE_S), self._moved:
                # Taken in from the journal alone: an event that came twice, or out of its turn, would change a key.
                await self._moved.wait_for(lambda: not after(entry, self._reached))
        except TimeoutError:
            raise BusUnavailable("the key was written down, and its journal cannot be read now") from None

    async def _take(self, received: Received[Message]) -> None:
        async with self._moved:
            if isinstance(received.message, KeyCreated | KeyRotated | KeyRevoked):
                self._book.take(received.message)
            self._reached = received.entry_id
            self._moved.notify_all()

    async def _load(self) -> None:
        while True:
            try:
                entries = await self._bus.journal(KEYS_JOURNAL, BOOK)
            except BusUnavailable:
                await asyncio.sleep(PAUSE_S)
                continue
            for received in entries:
                await self._take(received)
            self._read.set()
            return
