"""Whether the servers that requests depend on are there."""

import asyncio
from collections.abc import Awaitable, Callable

from archive_gateway.domain.ports import Outage

FRESH_S = 0.5
SAME_S = 5.0
"""Two looks that are further apart than this, and both find a server away, may have found it away twice."""


class ServerWatch:
    """Asks the servers on demand, at most twice a second however many requests want to know.

    ``check`` returns what is wrong, in words; ``clock`` is in seconds and does not go back.
    """

    def __init__(self, check: Callable[[], Awaitable[str | None]], *, clock: Callable[[], float]) -> None:
        self._check = check
        self._clock = clock
        self._asking = asyncio.Lock()
        self._asked = -FRESH_S
        self._what: str | None = None
        self._since = 0.0

    def known(self) -> Outage | None:
        """Return the outage that was found a moment ago, if there was one."""
        if self._what is None or self._clock() - self._asked > FRESH_S:
            return None
        return self._outage()

    async def look(self) -> Outage | None:
        """Return whether a server is away now."""
        async with self._asking:
            if self._clock() - self._asked > FRESH_S:
                await self._ask()
            return self._outage()

    async def check(self) -> str | None:
        """Ask now, and return what is wrong.

        Readiness comes from here, so that no request is refused once the gateway has called itself ready.
        """
        async with self._asking:
            await self._ask()
            return self._what

    async def _ask(self) -> None:
        began = self._clock()
        what = await self._check()
        if what is not None and (self._what is None or began - self._asked > SAME_S):
            self._since = began
        self._what = what
        self._asked = self._clock()

    def _outage(self) -> Outage | None:
        return None if self._what is None else Outage(self._what, self._clock() - self._since)
