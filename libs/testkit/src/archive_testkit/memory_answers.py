"""Logs of streamed answers, in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from archive_bus import Lease, LogEnd, wire
from archive_contracts.envelope import Envelope
from archive_contracts.streams import Server
from archive_testkit.memory_broker import Broker
from archive_testkit.memory_log import Id, heard_in_time

Written = Callable[[asyncio.Future[bool], float], Awaitable[bool]]


class MemoryAnswerLogs:
    """The same places and the same refusals as on a server."""

    def __init__(self, broker: Broker, written: Written) -> None:
        self._broker = broker
        self._written = written

    async def open(self, key: str, *, life: timedelta) -> None:
        """Create an empty log."""

        def create() -> bool:
            self._broker.ensure(key, ("keeper",))
            self._broker.expire(key, within_s=life.total_seconds())
            return True

        await self._written(self._broker.submit(Server.STATE, create), life.total_seconds())

    def add(self, key: str, envelope: Envelope, *, timeout: float, lease: Lease | None = None) -> Awaitable[bool]:
        """Write an entry at its place."""
        place, fields = (0, envelope.seq), wire(envelope)

        def put() -> bool:
            heard_in_time(lease)
            return self._put(key, place, fields)

        return self._written(self._broker.submit(Server.STATE, put), timeout)

    def end(
        self, key: str, envelope: Envelope, *, life: timedelta, timeout: float, lease: Lease | None = None
    ) -> Awaitable[bool]:
        """Write the last entry."""
        fields = wire(envelope)

        def finish() -> bool:
            heard_in_time(lease)
            log = self._broker.log(key)
            if log is None or log.last[0]:
                return False
            self._put(key, (1, log.last[1] + 1), fields)
            self._broker.expire(key, within_s=life.total_seconds())
            return True

        return self._written(self._broker.submit(Server.STATE, finish), timeout)

    async def reached(self, key: str) -> LogEnd | None:
        """Return how far a log has come."""
        log = self._broker.log(key)
        return LogEnd(seq=log.last[1], ended=bool(log.last[0])) if log else None

    def _put(self, key: str, place: Id, fields: dict[bytes, bytes]) -> bool:
        log = self._broker.log(key)
        if log is None:
            return False
        if place > log.last:
            log.last = place
            log.ids.append(place)
            log.fields[place] = fields
            self._broker.wake()
        return True
