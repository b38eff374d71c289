"""What the owner of an ordered partition does with it: one entry of a key at a time, the keys beside each other."""

import asyncio
import contextlib
import time
from collections.abc import Collection, Sequence

from archive_bus._adrift import Adrift
from archive_bus._consumer import Consumer
from archive_bus._errors import BusUnavailable
from archive_bus._gate import Gate
from archive_bus._handling import Work
from archive_bus._held import Held
from archive_bus._leases import Leases
from archive_bus._lines import Lines, place_of
from archive_bus._owners import Owner
from archive_bus._transport import Entry, Lane, Prefetch, Transport

MOST_WAITING = 256
"""Entries in hand beyond those that run; behind a key that is tried again, so many successors may wait."""
PAUSE_S = 0.1
LOOK_S = 1.0
KEY = b"subject"


class OrderedConsumer(Consumer):
    """Handles the entries of one partition as long as its owner owns it.

    An entry that is tried again, or handed back in an outage, keeps its place: its successors wait, other keys go on.
    """

    def __init__(
        self, *, lane: Lane, transport: Transport, work: Work, gate: Gate, concurrency: int, owner: Owner
    ) -> None:
        super().__init__(lane=lane, transport=transport, work=work, gate=gate, concurrency=concurrency)
        self.owner = owner
        self.owned_until = 0.0
        # None outlasts the right to the partition, whose next owner takes all messages at once.
        self._leases = Leases(lane, transport, self._held, self._adrift, most=lambda: self.owned_until)
        self._adopted = False
        self._arrived = "0-0"
        self._lines = Lines()
        self._at_work: set[str] = set()
        self._room = asyncio.Event()

    async def _read(self, prefetch: Prefetch) -> None:
        owners = self._transport.owners
        while True:
            self.progressed = time.monotonic()
            try:
                self._adopted = self._adopted or await self._adopt()
                taken = None
                if self._adopted:
                    taken = await owners.take(self.lane, self.owner, after=self._arrived, most=prefetch())
                if taken is None:
                    return  # replaced: who shares the partitions out will notice, too
                if taken.entries:
                    self._arrived = taken.entries[-1].id
                    await self._feed(taken.entries)
                else:
                    await owners.changed(self.lane, since=taken.reached)
            except BusUnavailable:
                await asyncio.sleep(PAUSE_S)

    async def _adopt(self) -> bool:
        """Take over what earlier owners left, in its order, before anything new is read."""
        found = await self._transport.owners.adopt(self.lane, self.owner)
        if found is None:
            return False
        known = [entry.id for entry in (*found.taken, *found.parked)]
        self._arrived = max(known, key=place_of, default="0-0")
        for entry in found.parked:
            self._lines.arrive(_key_of(entry), entry.id)
        self._line_up(found.taken)
        return True

    async def _feed(self, entries: Sequence[Entry]) -> None:
        fresh = self._fresh(entries)
        if self._draining:
            await self._hand_back({entry.id: "" for entry in fresh})
            return
        self._line_up(fresh)
        while len(self._held) >= self._concurrency + MOST_WAITING and not self._draining:
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._room.wait()
            self.progressed = time.monotonic()  # what waits behind a key that is tried again may wait for long

    async def _claim(self) -> None:
        if self._draining or not self._adopted:
            return
        # Also with full hands: what fills them may be waiting for the very entry that comes back now.
        claimed = await self._transport.claim(self.lane, count=self._concurrency)
        self._line_up(self._fresh(claimed))
        await self._pass_over()

    async def _pass_over(self) -> None:
        """Let a line go on whose first entry was settled without us: by an operator, or with the stream."""
        absent = [entry_id for entry_id in self._lines.first() if entry_id not in self._held]
        if not absent:
            return
        pending = await self._transport.owners.pending(self.lane, absent)
        for entry_id, waits in zip(absent, pending, strict=True):
            if not waits and entry_id not in self._held:
                key = self._lines.settled(entry_id)
                if key is not None:
                    self._call_first(key)

    def _line_up(self, entries: Sequence[Entry]) -> None:
        # All of them first: of two entries of one key the later must not find itself alone.
        turns: list[Held] = []
        for entry in entries:
            held = self._held[entry.id] = Held(entry, self, lease_s=self._lease_s)
            held.until = min(held.until, self.owned_until)
            if self._lines.arrive(_key_of(entry), entry.id):
                turns.append(held)
        for held in turns:
            self._call(held)

    def _call(self, held: Held) -> None:
        """Begin an entry unless one of its key is at work: whose turn it is then is seen when that one is over.

        A group that was made anew brings back what had been handled before the entry that is in hand.
        """
        key = _key_of(held.entry)
        if key not in self._at_work:
            self._at_work.add(key)
            self._tasks.create_task(self._enter(held))

    def _call_first(self, key: str) -> None:
        first = self._lines.head(key)
        if first and (held := self._held.get(first)):
            self._call(held)

    async def _enter(self, held: Held) -> None:
        await self._gate.enter()
        if rest := self._begin(held, asyncio.current_task()):
            await rest

    def _ack_linger_s(self) -> float:
        """Return 0: the next entry of a key waits until the one before is settled."""
        return 0.0

    def _leave(self, left: Collection[Held]) -> None:
        """Let go of what is over here, and let the lines go on of what is settled."""
        super()._leave(left)
        self._room.set()
        for held in left:
            key = _key_of(held.entry)
            self._at_work.discard(key)
            if held.over:
                self._lines.settled(held.entry.id)
            self._call_first(key)

    def abandon(self) -> None:
        """Stop at once: another process owns the partition, and all that is in hand here."""
        self._draining = True
        self._room.set()
        if self._pump:
            self._pump.cancel()
        for held in tuple(self._held.values()):
            held.lose()  # what an outage cut is adrift by now; of what a stall cut nobody knows that it is harmless

    def forsake(self) -> Adrift:
        """Return what the server is still to be told of runs that are over here; their entries are for others."""
        self._adrift.forsake()
        return self._adrift


def _key_of(entry: Entry) -> str:
    return entry.fields.get(KEY, b"").decode(errors="replace")
