"""Model servers of other programs on this machine, looked for while somebody watches."""

import asyncio
from collections.abc import Callable, Sequence

from archive_finding import USUAL, Found, find_engines

FRESH_S = 4.0
PATIENCE_S = 1.0


class Finder:
    """Looks at some ports of this machine, once for all pages. ``clock`` is in seconds and does not go back."""

    def __init__(self, ports: Sequence[int], *, clock: Callable[[], float]) -> None:
        kinds = dict(USUAL)
        self._places = [(port, kinds.get(port, "A model server")) for port in ports]
        self._clock = clock
        self._looking = asyncio.Lock()
        self._seen: list[Found] = []
        self._until = 0.0

    async def found(self) -> list[Found]:
        """Return the servers that answer; what was seen a moment ago is not asked again."""
        async with self._looking:
            if self._places and self._clock() >= self._until:
                self._seen = await find_engines(places=self._places, timeout_s=PATIENCE_S)
                self._until = self._clock() + FRESH_S
        return self._seen
