"""Cancellation: a broadcast that running work hears, and a mark that work finds which begins later."""

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from datetime import timedelta

import anyio

from archive_bus._delivery import Received
from archive_bus._transport import Transport
from archive_contracts.base import Message
from archive_contracts.control import CancelRequested
from archive_contracts.streams import Server

TOMBSTONE_LIFE = timedelta(hours=1)


class Cancels:
    """What this process runs that somebody may cancel."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._scopes: dict[str, set[anyio.CancelScope]] = {}

    async def mark(self, target: str) -> None:
        """Leave a mark for whoever begins to work on ``target`` within the hour."""
        await self._transport.mark(f"cancelled:{target}", server=Server.BUS, lifetime=TOMBSTONE_LIFE)

    async def marked(self, target: str) -> bool:
        """Whether somebody asked to stop ``target``."""
        return await self._transport.marked(f"cancelled:{target}", server=Server.BUS)

    @contextmanager
    def scope(self, *targets: str) -> Generator[anyio.CancelScope, None, None]:
        """Run a block that ends when one of the targets is cancelled; the same one may be named twice."""
        named = frozenset(targets)
        with anyio.CancelScope() as scope:
            for target in named:
                self._scopes.setdefault(target, set()).add(scope)
            try:
                yield scope
            finally:
                for target in named:
                    self._scopes[target].discard(scope)
                    if not self._scopes[target]:
                        del self._scopes[target]

    async def obey(self, control: AsyncIterator[Received[Message] | None]) -> None:
        """Cancel what the control stream names."""
        async for received in control:
            if received and isinstance(received.message, CancelRequested):
                for scope in tuple(self._scopes.get(received.message.target, ())):
                    scope.cancel()
