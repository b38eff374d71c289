"""Logs of streamed answers."""

import asyncio
from collections.abc import Awaitable, Generator
from datetime import timedelta
from typing import Any

from redis.exceptions import ResponseError

from archive_bus._errors import BusUnavailable
from archive_bus._lease import Lease
from archive_bus._redis.connections import SETTLE_TIMEOUT_S, Connections, accepted, flat_fields, in_time
from archive_bus._transport_parts import LogEnd
from archive_bus._writer import within
from archive_contracts.envelope import Envelope

NOT_ABOVE_TOP = "equal or smaller"
KEEPER = "keeper"


class RedisAnswerLogs:
    """One stream for each answer, written through the connection that carries the replies."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def open(self, key: str, *, life: timedelta) -> None:
        """Create an empty log."""
        # A stream without entries exists only through a group; nobody reads by it.
        creating = self._connections.replier.send("XGROUP", "CREATE", key, KEEPER, "$", "MKSTREAM")
        expiring = self._connections.replier.send("PEXPIRE", key, _ms(life))
        try:
            await within(creating, SETTLE_TIMEOUT_S)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise BusUnavailable(f"the state server refuses a log: {error}") from error
        await accepted(expiring, SETTLE_TIMEOUT_S)

    def add(self, key: str, envelope: Envelope, *, timeout: float, lease: Lease | None = None) -> Awaitable[bool]:
        """Write an entry at its place."""
        args = [0, f"0-{envelope.seq}", *flat_fields(envelope)]
        return _Kept(self._connections.under(lease, "reply", key, args), timeout)

    def end(
        self, key: str, envelope: Envelope, *, life: timedelta, timeout: float, lease: Lease | None = None
    ) -> Awaitable[bool]:
        """Write the last entry."""
        args = [_ms(life), *flat_fields(envelope)]
        return _Kept(self._connections.under(lease, "end_log", key, args), timeout)

    async def reached(self, key: str) -> LogEnd | None:
        """Return how far a log has come."""
        try:
            info: Any = await self._connections.replier.call("XINFO", "STREAM", key, timeout=SETTLE_TIMEOUT_S)
        except ResponseError as error:
            if "no such key" in str(error):
                return None
            raise BusUnavailable(f"the state server refuses: {error}") from error
        last: bytes = info[info.index(b"last-generated-id") + 1]
        ended, _, seq = last.decode().partition("-")
        return LogEnd(seq=int(seq), ended=ended != "0")


class _Kept:
    """Whether an entry of a log is there; need not be awaited."""

    __slots__ = ("_reply", "_timeout")

    def __init__(self, reply: "asyncio.Future[Any]", timeout: float) -> None:
        self._reply = reply
        self._timeout = timeout

    def __await__(self) -> Generator[Any, None, bool]:
        return self._wait().__await__()

    async def _wait(self) -> bool:
        try:
            reply = await within(self._reply, self._timeout)
            return bool(in_time(reply))
        except ResponseError as error:
            if NOT_ABOVE_TOP in str(error):
                return True  # sent twice over a broken connection; the first has arrived
            raise BusUnavailable(f"the state server refuses: {error}") from error


def _ms(life: timedelta) -> int:
    return int(life.total_seconds() * 1000)
