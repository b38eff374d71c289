"""Logs of streamed answers."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

from redis.exceptions import ResponseError

from archive_bus._errors import BusUnavailable, PayloadError
from archive_bus._lease import Lease
from archive_bus._redis.connections import SETTLE_TIMEOUT_S, Connections, Written, accepted, flat_fields
from archive_bus._transport_parts import LogEnd
from archive_bus._writer import within
from archive_contracts.envelope import Envelope

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
        return self._connections.teller.keep(key, envelope.seq, _line(envelope), lease=lease, timeout=timeout)

    def end(
        self, key: str, envelope: Envelope, *, life: timedelta, timeout: float, lease: Lease | None = None
    ) -> Awaitable[bool]:
        """Write the last entry."""
        args = [_ms(life), *flat_fields(envelope)]
        return _Ended(self._connections.ending(lease, key, args), timeout)

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


class _Ended(Written):
    """Whether a log ended here, and not before."""

    __slots__ = ()

    def found(self, reply: Any) -> bool:
        return bool(reply)


def _line(envelope: Envelope) -> list[bytes]:
    """Return the fields of an entry; place, call and message are its address and that of its log."""
    try:
        if envelope.tenant == "default":
            return [b"type", envelope.type.encode(), b"data", envelope.data]
        return [b"type", envelope.type.encode(), b"tenant", envelope.tenant.encode(), b"data", envelope.data]
    except UnicodeEncodeError as error:
        raise PayloadError(f"a field of the envelope is no Unicode text: {error}") from error


def _ms(life: timedelta) -> int:
    return int(life.total_seconds() * 1000)
