"""What routers tell each other through the state server: which worker has read which prompt's beginning.

Best effort: a router whose state server is slow or away goes on with what it knows by itself, and takes up what the
others learned once the server is back. Everything else a router knows comes with the engines' heartbeats.
"""

import asyncio
import contextlib
import json
import logging
from collections import deque
from typing import Any, cast

from redis.exceptions import RedisError

from archive_bus import open_client
from archive_router.domain.affinity import Prefixes

log = logging.getLogger(__name__)

KEY = "router:learned"
PERIOD_S = 0.5
PATIENCE_S = 0.25
KEPT = 2_000
MOST_UNTOLD = 500
"""Findings kept while the server is away; older ones are dropped, for they are of the least use by then."""


class Learned:
    """Tells and hears findings. ``replica`` is this process's name, by which it knows its own."""

    def __init__(self, url: str, prefixes: Prefixes, *, replica: str) -> None:
        self._client: Any = open_client(url, connect_s=PATIENCE_S, answer_s=PATIENCE_S)
        self._prefixes = prefixes
        self._replica = replica
        self._untold: deque[tuple[str, tuple[str, ...]]] = deque(maxlen=MOST_UNTOLD)
        self._heard = "0-0"
        self._away = False

    def note(self, marks: tuple[str, ...], worker: str) -> None:
        """Take in that a worker reads a prompt with these beginnings."""
        self._untold.append((worker, marks))

    async def run(self) -> None:
        """Exchange findings until cancelled."""
        try:
            while True:
                await self.exchange()
                await asyncio.sleep(PERIOD_S)
        finally:
            with contextlib.suppress(RedisError, OSError):
                await self._client.aclose()

    async def exchange(self) -> bool:
        """Tell what was learned here and hear what was learned elsewhere. False: the server is slow or away."""
        telling = list(self._untold)
        try:
            async with asyncio.timeout(PATIENCE_S):
                if telling:
                    fields = {"replica": self._replica, "found": json.dumps(telling)}
                    await self._client.xadd(KEY, fields, maxlen=KEPT, approximate=True)
                rows: Any = await self._client.xread({KEY: self._heard}, count=KEPT)
        except (RedisError, OSError) as error:  # TimeoutError among them
            if not self._away:
                log.warning("routers cannot tell each other what they learn, each goes on alone: %s", error)
            self._away = True
            return False
        self._away = False
        for _ in telling:
            self._untold.popleft()
        for entry_id, fields in rows[0][1] if rows else ():
            self._heard = entry_id.decode()
            if fields.get(b"replica") != self._replica.encode():
                self._take(fields.get(b"found", b""))
        return True

    def _take(self, raw: bytes) -> None:
        try:
            found: object = json.loads(raw)
        except ValueError:
            return
        for item in _list(found):
            worker, marks = (*_list(item), None, None)[:2]
            if isinstance(worker, str):
                self._prefixes.note([mark for mark in _list(marks) if isinstance(mark, str)], worker)


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
