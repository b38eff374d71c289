"""Fair turns for documents that share a few workers."""

from __future__ import annotations

import heapq
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count

import anyio


class Account:
    """How much worker time (seconds) a document has used."""

    def __init__(self, used_s: float) -> None:
        self.used_s = used_s


class Turns:
    """Hands `slots` to whoever has used least so far, as the kernel's fair scheduler does.

    A document of one page therefore waits for one short task at most, however many pages the others have.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: list[tuple[float, int, anyio.Event]] = []
        self._order = count()
        self._open: set[Account] = set()

    def open(self) -> Account:
        """A newcomer starts level with the least served, not with nothing: it must not starve the others."""
        account = Account(min((other.used_s for other in self._open), default=0.0))
        self._open.add(account)
        return account

    def close(self, account: Account) -> None:
        self._open.discard(account)

    @asynccontextmanager
    async def turn(self, account: Account) -> AsyncGenerator[None]:
        """Hold a slot for one task."""
        await self._acquire(account)
        began = time.monotonic()
        try:
            yield
        finally:
            account.used_s += time.monotonic() - began
            self._release()

    async def _acquire(self, account: Account) -> None:
        if self._free:
            self._free -= 1
            return
        granted = anyio.Event()
        entry = (account.used_s, next(self._order), granted)
        heapq.heappush(self._waiting, entry)
        try:
            await granted.wait()
        except BaseException:  # a cancellation: who has left must not be given a turn, nor keep one
            if granted.is_set():
                self._release()
            else:
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)
            raise

    def _release(self) -> None:
        if self._waiting:
            heapq.heappop(self._waiting)[2].set()
        else:
            self._free += 1
