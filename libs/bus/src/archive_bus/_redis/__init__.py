"""The transport on Redis or Valkey."""

import logging
from typing import cast

from faststream.redis import RedisBroker
from redis.exceptions import ResponseError

from archive_bus._errors import BusUnavailable
from archive_bus._inbox import Inboxes
from archive_bus._options import Limits
from archive_bus._owners import Owners
from archive_bus._pump import pump
from archive_bus._redis.answers import RedisAnswerLogs
from archive_bus._redis.connections import SETTLE_TIMEOUT_S, Connections, RedisUrls
from archive_bus._redis.inboxes import RedisInboxes
from archive_bus._redis.owners import RedisOwners
from archive_bus._redis.publishing import Publishing
from archive_bus._redis.reading import Reading
from archive_bus._redis.settling import Settling
from archive_bus._redis.timers import RedisTimers
from archive_bus._transport import Feed, Lane
from archive_bus._transport_parts import AnswerLogs, Timers

DEFAULT = Limits()
CHECK_TIMEOUT_S = 0.7


class RedisTransport(Publishing, Settling, Reading):
    """Streams, scripts and marks on two servers."""

    def __init__(self, urls: RedisUrls, limits: Limits = DEFAULT) -> None:
        self._connections = Connections(urls)
        Publishing.__init__(self, self._connections, limits)
        Settling.__init__(self, self._connections)
        Reading.__init__(self, self._connections)
        self.answers: AnswerLogs = RedisAnswerLogs(self._connections)
        self.inboxes: Inboxes = RedisInboxes(self._connections)
        self.owners: Owners = RedisOwners(self._connections, self)
        self.timers: Timers = RedisTimers(self._connections, self)
        self._broker: RedisBroker = RedisBroker(
            urls.bus,
            protocol=cast("str", 2),  # FastStream's annotation is wrong: redis-py wants the number
            socket_connect_timeout=1.0,
            socket_timeout=3.0,
            max_connections=10_000,
            logger=_broker_log(),
        )

    async def start(self) -> None:
        """Start writing; a server that is away is waited for by each caller."""
        await self._connections.start()
        await self._broker.connect()

    async def stop(self) -> None:
        """Send what is queued and disconnect."""
        await self._connections.stop()
        await self._broker.stop()
        await self._connections.close_readers()

    async def pump(self, lane: Lane, feed: Feed, *, prefetch: int) -> None:
        """Feed new entries until cancelled."""

        async def heal() -> None:
            try:
                await self.ensure(
                    self._connections.settler, lane.stream, lane.key, SETTLE_TIMEOUT_S, joining=lane.group
                )
            except BusUnavailable as error:
                raise OSError(str(error)) from error

        await pump(self._broker, lane, feed, prefetch=prefetch, heal=heal)

    async def check(self) -> str | None:
        """Return what is wrong with the servers, or None."""
        for role, writer in (("bus", self._connections.settler), ("state", self._connections.replier)):
            try:
                await writer.call("PING", timeout=CHECK_TIMEOUT_S)
            except BusUnavailable:
                return f"the {role} server does not answer"
            except ResponseError as error:
                return f"the {role} server refuses: {error}"
        return None


def _broker_log() -> logging.Logger:
    log = logging.getLogger("faststream.redis")
    log.setLevel(logging.WARNING)  # it announces every subscriber and every finished task
    return log


__all__ = ["RedisTransport", "RedisUrls"]
