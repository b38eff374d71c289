"""How many jobs of a lane nobody has taken, asked of the server that holds the lane."""

import contextlib
from typing import Any, cast

from redis.exceptions import RedisError

from archive_bus import open_client
from archive_contracts.streams import ENGINE_JOBS

PATIENCE_S = 0.5
GROUP = "engine"


class Backlog:
    """Asks for the lag of a pool's lane; best effort, the last known number stands while the server is away."""

    def __init__(self, url: str, *, pool: str) -> None:
        self._client: Any = open_client(url, connect_s=PATIENCE_S, answer_s=PATIENCE_S)
        self._keys = [ENGINE_JOBS.physical(ENGINE_JOBS.lane(pool, priority)) for priority in ENGINE_JOBS.priorities]
        self._last = 0

    async def __call__(self) -> int:
        """Return the jobs that wait."""
        with contextlib.suppress(RedisError, OSError):
            self._last = sum([await self._waiting(key) for key in self._keys])
        return self._last

    async def _waiting(self, key: str) -> int:
        if not await self._client.exists(key):
            return 0
        groups: Any = await self._client.xinfo_groups(key)
        for group in cast("list[dict[str, Any]]", groups):
            if group["name"] in {GROUP, GROUP.encode()}:
                lag = group.get("lag")
                # A server that cannot tell the lag knows what is there and what of it was taken.
                return (
                    int(lag) if lag is not None else max(0, int(await self._client.xlen(key)) - int(group["pending"]))
                )
        return 0

    async def drop(self, partition: str) -> None:
        """Remove the lane of a worker that is gone, when it is empty; else it stays for whoever comes next."""
        key = ENGINE_JOBS.physical(partition)
        with contextlib.suppress(RedisError, OSError):
            if await self._client.exists(key) and not int(await self._client.xlen(key)):
                await self._client.unlink(key)

    async def close(self) -> None:
        """Disconnect."""
        await self._client.aclose()
