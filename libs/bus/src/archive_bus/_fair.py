"""Places that several lanes share by weight: the heavy lane goes first, the light one is never starved.

A lane uses its places by start-time fair queueing: each admission costs the inverse of the lane's weight, and of the
lanes that want a place the one that has spent least gets it. A lane without a backlog saves nothing up.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping

from archive_bus._gate import Gate
from archive_contracts.chat import Priority

WEIGHTS: Mapping[Priority, int] = {"interactive": 4, "batch": 1}
"""Of five places that both want, a batch gets one."""
TURN_S = 0.05
"""How long a place is kept for a lane that is reading; longer than a read that finds something."""
PATIENCE_S = 0.5
"""How long a message waits in hand for a place that was taken before it came; then another process may have it."""


class Fair:
    """Shares out the places of a gate. ``now`` is what the lane had spent that was admitted last."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.lanes: list[Share] = []
        self.now = 0.0

    def share(self, weight: int) -> "Share":
        """Return the gate of one more lane."""
        lane = Share(self, weight)
        self.lanes.append(lane)
        return lane


class Share(Gate):
    """One lane's way through the shared gate."""

    def __init__(self, fair: Fair, weight: int) -> None:
        super().__init__(0)
        self.spent = 0.0
        self._fair = fair
        self._gate = fair.gate
        self._cost = 1 / weight
        self._wants = 0
        self._found = False
        self._reading_until = 0.0

    @property
    def room(self) -> bool:
        """Whether it is this lane's turn and a place is free."""
        others = (other for other in self._fair.lanes if other is not self)
        return self._gate.room and not any(other.contends and other.spent < self.spent for other in others)

    @property
    def spare(self) -> int:
        """How many could enter now, of this lane alone; one place at a time while lanes contend."""
        if any(other.contends for other in self._fair.lanes if other is not self):
            return int(self.room)
        return self._gate.spare

    @property
    def contends(self) -> bool:
        """Whether this lane wants a place: it holds a message, or reads a backlog."""
        if self._wants > 0:
            return True
        return self._reading_until > 0 and asyncio.get_running_loop().time() < self._reading_until

    async def enter(self) -> None:
        """Wait for a place and take it."""
        if not self.try_enter():
            self._wants += 1
            try:
                await self._gate.until(self.try_enter)
            finally:
                self._wants -= 1
                self._gate.wake()

    def try_enter(self) -> bool:
        """Take a place if there is one and it is this lane's turn."""
        if not self.contends:
            self.spent = max(self.spent, self._fair.now)
        self._found = True
        self._reading_until = 0.0
        if not self.room:
            return False
        self._gate.take()
        self._fair.now = self.spent
        self.spent += self._cost
        self._gate.wake()
        return True

    async def admit(self) -> bool:
        """Enter. False: the places are taken, by other lanes perhaps, and may be for long."""
        if self.try_enter():
            return True
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.enter()
        except TimeoutError:
            return False
        return True

    async def free(self) -> None:
        """Wait for this lane's turn to read, and keep the place for as long as a read takes if it has a backlog."""
        backlog, self._found = self._found, False
        self._wants += backlog
        try:
            await self._gate.until(lambda: self.room)
        finally:
            self._wants -= backlog
        if backlog:
            loop = asyncio.get_running_loop()
            self._reading_until = loop.time() + TURN_S
            loop.call_at(self._reading_until + 0.001, self._gate.wake)

    def leave(self, count: int = 1) -> None:
        """Give places back."""
        self._gate.leave(count)

    def take(self) -> None:
        """Take a place that is free."""
        self._gate.take()

    def wake(self) -> None:
        """Let those who wait look again."""
        self._gate.wake()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncGenerator[None, None]:
        """Step outside, wait until nobody else of any lane is inside, and let nobody in meanwhile."""
        async with self._gate.alone():
            yield
