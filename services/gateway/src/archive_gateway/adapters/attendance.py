# pyright: reportUnknownMemberType=false
# redis-py leaves the arguments of its commands and constructors partly untyped.
"""Who listens to resumable streams, told to the other gateways through the state server."""

import asyncio
import json
from dataclasses import asdict
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from archive_bus import open_client
from archive_gateway.domain.ports import Patron
from archive_telemetry import get_logger

log = get_logger(__name__)

LIFE_MS = 900_000
"""Longer than a stream that was left can be resumed."""
LISTENS_MS = 15_000
"""Longer than a listener's notes are apart; shorter than the grace of a stream that was left."""
KEPT_MS = 3_600_000
PATIENCE_S = 1.0
UNKNOWN = "unknown"


class StreamAttendance:
    """A key for each stream, whose age tells who listens. Only streams that asked to be resumable cost anything."""

    def __init__(self, url: str) -> None:
        self._redis: Redis = open_client(url, connect_s=PATIENCE_S, answer_s=2.0)

    async def note(self, stream: str, patron: Patron) -> None:
        """Say that somebody listens now, and for some seconds on."""
        await self._ask("SET", _key(stream), json.dumps(asdict(patron)), "PX", LIFE_MS)

    async def patron(self, stream: str) -> Patron | None:
        """Return whose it is, for as long as it may be resumed."""
        found = await self._ask("GET", _key(stream))
        return Patron(**json.loads(found)) if isinstance(found, bytes) else None

    async def attended(self, stream: str) -> bool:
        """Whether somebody listens, or did so a moment ago."""
        left = await self._ask("PTTL", _key(stream))
        return isinstance(left, int) and left > LIFE_MS - LISTENS_MS

    async def settled(self, stream: str) -> bool:
        """Whether the stream was booked already; from now on it was. What nobody can tell was not."""
        marked = await self._ask("SET", f"{_key(stream)}:booked", "1", "NX", "PX", KEPT_MS)
        return marked is None

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    async def _ask(self, *command: str | int) -> object:
        """Return the server's answer, in which None is nothing; UNKNOWN where it gave none."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return cast("object", await self._redis.execute_command(*command))
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("attendance is not told", why=str(error) or type(error).__name__)
            return UNKNOWN


def _key(stream: str) -> str:
    return f"gateway:{{stream:{stream}}}"
