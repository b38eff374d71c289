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

    @property
    def room(self) -> bool:
        """Whether one more may enter."""
        return self._inside < self._limit and not self._solo

    @property
    def spare(self) -> int:
        """How many could enter now."""
        return 0 if self._solo else max(0, self._limit - self._inside)

    async def enter(self) -> None:
        """Wait for a place and take it."""
        while not self.try_enter():
            await self.free()

    def try_enter(self) -> bool:
        """Take a place if there is one."""
        if self._solo or self._inside >= self._limit:
            return False
        self._inside += 1
        return True

    async def admit(self) -> bool:
        """Enter. False: it would take too long, and somebody else may have a place."""
        await self.enter()
        return True

    def take(self) -> None:
        """Take a place that is free."""
        self._inside += 1

    def leave(self, count: int = 1) -> None:
        """Give places back."""
        self._inside -= count
        if self._waiters:
            self.wake()

    async def free(self) -> None:
        """Wait until one more could enter."""
        await self.until(lambda: self.room)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncGenerator[None, None]:
        """Step outside, wait until nobody else is inside, and let nobody in meanwhile; called from inside.

        Outside, because two who waited inside for each other to leave would wait for good.
        """
        self.leave()
        try:
            await self.until(lambda: not self._solo)
            self._solo = True
            try:
                await self.until(lambda: self._inside == 0)
                yield
            finally:
                self._solo = False
                self.wake()
        finally:
            self._inside += 1

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true that may become so whenever somebody leaves."""
        while not true():
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(turn)
            await turn

    def wake(self) -> None:
        """Let those who wait look again."""
        waiters, self._waiters = self._waiters, []
        for turn in waiters:
            if not turn.done():
                turn.set_result(None)
