"""The transport on Redis or Valkey."""

import logging
from collections.abc import Sequence

from faststream.redis import RedisBroker
from redis.exceptions import ResponseError

from archive_bus._addresses import address_of
from archive_bus._errors import BadServer, BusUnavailable
from archive_bus._inbox import Inboxes
from archive_bus._options import Durability, Limits
from archive_bus._owners import Owners
from archive_bus._pump import pump
from archive_bus._redis.answers import RedisAnswerLogs
from archive_bus._redis.connections import SETTLE_TIMEOUT_S, Connections, RedisUrls
from archive_bus._redis.inboxes import RedisInboxes
from archive_bus._redis.owners import RedisOwners
from archive_bus._redis.publishing import Publishing
from archive_bus._redis.reading import Reading
from archive_bus._redis.settings import look
from archive_bus._redis.settling import Settling
from archive_bus._redis.timers import RedisTimers
from archive_bus._transport import Entry, Feed, Lane, Prefetch
from archive_bus._transport_parts import AnswerLogs, Timers

log = logging.getLogger(__name__)

DEFAULT = Limits()
CHECK_TIMEOUT_S = 0.7


class RedisTransport(Publishing, Settling, Reading):
    """Streams, scripts and marks on two servers, which list our connections under ``name``."""

    def __init__(
        self,
        urls: RedisUrls,
        limits: Limits = DEFAULT,
        durability: Durability = Durability.MEMORY,
        *,
        name: str = "",
    ) -> None:
        self._bus = address_of(urls.bus, durability)
        self._connections = Connections(self._bus, address_of(urls.state, Durability.MEMORY), name=name)
        self._apart = urls.bus != urls.state
        self._warned: set[str] = set()
        Publishing.__init__(self, self._connections, limits)
        Settling.__init__(self, self._connections)
        Reading.__init__(self, self._connections)
        self.answers: AnswerLogs = RedisAnswerLogs(self._connections)
        self.inboxes: Inboxes = RedisInboxes(self._connections)
        self.owners: Owners = RedisOwners(self._connections, self)
        self.timers: Timers = RedisTimers(self._connections, self)
        self._broker: RedisBroker = self._bus.broker(logger=_broker_log(), client_name=name or None)

    async def start(self) -> None:
        """Start writing; a server that is away is waited for by each caller."""
        await self._connections.start()
        await self._broker.connect()

    async def stop(self) -> None:
        """Send what is queued and disconnect."""
        await self._connections.stop()
        await self._broker.stop()
        await self._connections.close_readers()

    async def pump(self, lane: Lane, feed: Feed, *, prefetch: Prefetch) -> None:
        """Feed new entries until cancelled."""

        async def heal() -> None:
            try:
                await self.ensure(
                    self._connections.settler, lane.stream, lane.key, SETTLE_TIMEOUT_S, joining=lane.group
                )
            except BusUnavailable as error:
                raise OSError(str(error)) from error

        async def recover() -> Sequence[Entry]:
            try:
                return await self.recover(lane)
            except BusUnavailable as error:
                raise OSError(str(error)) from error

        await pump(self._broker, lane, feed, prefetch=prefetch, heal=heal, recover=recover)

    async def check(self) -> str | None:
        """Return what is wrong with the servers, or None."""
        wrong: list[str] = []
        unknown: list[str] = []
        for role, writer in (("bus", self._connections.settler), ("state", self._connections.replier)):
            kept = self._bus.durability if role == "bus" else Durability.MEMORY
            evicts_at_will = role == "state" and self._apart
            try:
                found = await look(writer, kept, evicts_at_will=evicts_at_will, timeout=CHECK_TIMEOUT_S)
            except BusUnavailable:
                return f"the {role} server does not answer"
            except (BadServer, ResponseError) as error:
                return f"the {role} server refuses: {error}"
            wrong += [f"the {role} server: {error}. {error.next_step}" for error in found.wrong]
            unknown += [f"the {role} server: {text}; 'archive doctor' tells an operator" for text in found.unknown]
        for text in {*wrong, *unknown} - self._warned:
            log.warning("%s", text)
        self._warned.update(wrong, unknown)
        return " ".join(wrong) or None


def _broker_log() -> logging.Logger:
    log = logging.getLogger("faststream.redis")
    log.setLevel(logging.WARNING)  # it announces every subscriber and every finished task
    return log


__all__ = ["RedisTransport", "RedisUrls"]
