"""Figures of the machine and of the stream of exchanges, for the originals' monitors."""

# pyright: reportUnknownMemberType=false
# redis-py leaves the arguments of its commands and constructors partly untyped.

import asyncio
from typing import cast

import psutil
from redis.asyncio import Redis
from redis.exceptions import RedisError

from archive_bus import open_client
from archive_contracts.streams import CHAT_EVENTS
from archive_gateway.domain.ports import Activity, Machine

PATIENCE_S = 0.5
MB = 2**20


class MachineFigures:
    """Reads the kernel's counters, and looks at the stream that memory listens to."""

    def __init__(self, bus_url: str) -> None:
        self._redis: Redis = open_client(bus_url, connect_s=PATIENCE_S, answer_s=1.0)
        # The first reading has nothing to compare with.
        psutil.cpu_percent()

    def machine(self) -> Machine:
        """Return how busy the machine has been since the last look."""
        memory = psutil.virtual_memory()
        return Machine(
            cpu_percent=psutil.cpu_percent(),
            memory_percent=memory.percent,
            memory_used_mb=round((memory.total - memory.available) / MB, 1),
            memory_total_mb=round(memory.total / MB, 1),
        )

    async def activity(self) -> Activity | None:
        """Return how long the stream is and its newest entry, or None when the server does not say."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                key = CHAT_EVENTS.physical()
                length = await self._redis.xlen(key)
                newest = cast("list[tuple[bytes, object]]", await self._redis.xrevrange(key, count=1))
        except (RedisError, OSError, TimeoutError):
            return None
        return Activity(length=length, last_id=newest[0][0].decode() if newest else "0-0")

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()
