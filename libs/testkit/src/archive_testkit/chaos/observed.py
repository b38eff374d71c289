"""Notes what the server takes from a process, at the seam between the bus and its server."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from archive_bus import Acked, Entry, Feed, Lane, Transport
from archive_bus._inbox import Turn
from archive_bus._owners import Adopted, Owner, Taken
from archive_testkit.chaos.history import ONCE, Recorder, What


class _Known:
    """Which entry carries which message."""

    def __init__(self, notes: Recorder) -> None:
        self._notes = notes
        self._messages: dict[tuple[str, str], str] = {}

    def remember(self, lane: Lane, entries: Sequence[Entry]) -> None:
        """Take in entries that were read."""
        for entry in entries:
            self._messages[lane.key, entry.id] = entry.fields.get(b"id", b"").decode()

    def acked(self, lane: Lane, entry_id: str, outcome: Acked, since: float, detail: str = "") -> None:
        """Note an acknowledgement that was taken."""
        message = self._messages.pop((lane.key, entry_id), "")
        if outcome is Acked.DONE and message:
            self._notes.note(What.ACK, message, since=since, detail=detail)


class _Owners:
    """Owners that remember what they read."""

    def __init__(self, inner: Any, known: _Known) -> None:
        self._inner = inner
        self._known = known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def adopt(self, lane: Lane, owner: Owner) -> Adopted | None:
        """Take over as the inner one does."""
        adopted: Adopted | None = await self._inner.adopt(lane, owner)
        if adopted:
            self._known.remember(lane, adopted.taken)
        return adopted

    async def take(self, lane: Lane, owner: Owner, *, after: str, most: int) -> Taken | None:
        """Read as the inner one does."""
        taken: Taken | None = await self._inner.take(lane, owner, after=after, most=most)
        if taken:
            self._known.remember(lane, taken.entries)
        return taken


class _Inboxes:
    """Inboxes that note what they take."""

    def __init__(self, inner: Any, known: _Known) -> None:
        self._inner = inner
        self._known = known

    async def begin(self, lane: Lane, entry_id: str, message_id: str, *, window: timedelta) -> Turn:
        """Reserve as the inner one does."""
        return await self._inner.begin(lane, entry_id, message_id, window=window)

    async def settle(self, lane: Lane, entry_id: str, message_id: str, *, window: timedelta) -> Acked:
        """Acknowledge as the inner one does, and note what was taken."""
        since = time.monotonic()
        outcome: Acked = await self._inner.settle(lane, entry_id, message_id, window=window)
        self._known.acked(lane, entry_id, outcome, since, ONCE)
        return outcome


class Observed:
    """A transport that notes which acknowledgements the server takes."""

    def __init__(self, inner: Transport, notes: Recorder) -> None:
        self._inner = inner
        self._known = _Known(notes)
        self.owners = _Owners(inner.owners, self._known)
        self.inboxes = _Inboxes(inner.inboxes, self._known)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def pump(self, lane: Lane, feed: Feed, **more: Any) -> None:
        """Feed as the inner one does, and remember which entry carries which message."""

        async def fed(entries: Sequence[Entry]) -> None:
            self._known.remember(lane, entries)
            await feed(entries)

        await self._inner.pump(lane, fed, **more)

    async def claim(self, lane: Lane, **more: Any) -> Sequence[Entry]:
        """Claim as the inner one does."""
        entries = await self._inner.claim(lane, **more)
        self._known.remember(lane, entries)
        return entries

    async def ack(self, lane: Lane, ids: Sequence[str]) -> Sequence[Acked]:
        """Acknowledge as the inner one does, and note what was taken."""
        since = time.monotonic()
        outcome = await self._inner.ack(lane, ids)
        for entry_id, taken in zip(ids, outcome, strict=True):
            self._known.acked(lane, entry_id, taken, since)
        return outcome
