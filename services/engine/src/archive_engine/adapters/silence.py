"""How long a server has said nothing, watched by one timer for all that comes over a connection."""

import asyncio
import math
from collections.abc import Callable


class Silence:
    """Calls ``interrupt`` with a TimeoutError in a read that takes too long.

    ``asyncio.timeout`` around each read would set and clear a timer for every token.
    """

    def __init__(self, interrupt: Callable[[TimeoutError], None]) -> None:
        self._interrupt = interrupt
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rings = 0.0
        self._until = math.inf

    def listen(self, limit_s: float) -> None:
        """Begin a read that may take so many seconds."""
        self._until = self._loop.time() + limit_s
        if self._timer is None or self._rings > self._until:
            self._ring_at(self._until)

    def heard(self) -> None:
        """End the read."""
        self._until = math.inf

    def close(self) -> None:
        """Stop watching."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _ring_at(self, when: float) -> None:
        self.close()
        self._rings = when
        self._timer = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._until <= self._rings:
            self._interrupt(TimeoutError())
        elif self._until < math.inf:
            self._ring_at(self._until)
