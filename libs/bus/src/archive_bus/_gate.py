"""How many handlers of a lane run at a time."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable


class Gate:
    """Admits up to ``limit`` at a time, or a single one alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._solo = False
        self._waiters: list[asyncio.Future[None]] = []

    async def enter(self) -> None:
        """Wait for a place and take it."""
        await self.free()
        self._inside += 1

    def leave(self) -> None:
        """Give the place back."""
        self._inside -= 1
        self._wake()

    async def free(self) -> None:
        """Wait until one more could enter."""
        await self._until(lambda: self._inside < self._limit and not self._solo)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncGenerator[None, None]:
        """Step outside, wait until nobody else is inside, and let nobody in meanwhile; called from inside.

        Outside, because two who waited inside for each other to leave would wait for good.
        """
        self.leave()
        try:
            await self._until(lambda: not self._solo)
            self._solo = True
            try:
                await self._until(lambda: self._inside == 0)
                yield
            finally:
                self._solo = False
                self._wake()
        finally:
            self._inside += 1

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(turn)
            await turn

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for turn in waiters:
            if not turn.done():
                turn.set_result(None)
