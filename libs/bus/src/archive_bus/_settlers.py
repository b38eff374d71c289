"""Where starts and acknowledgements of one loop turn travel together."""

import asyncio
from collections.abc import Callable, Sequence

from archive_bus._beginnings import Beginnings
from archive_bus._coalesce import Coalescer
from archive_bus._held import Held, runs_of
from archive_bus._transport import Acked, Lane, Starts, Transport


class Settlers:
    """What a consumer tells the server of what it has in hand.

    ``start`` notes runs that begin, ``alone`` those of suspects, ``ack`` settles; acknowledgements wait for others as
    long as ``linger`` says, in seconds.
    """

    def __init__(self, lane: Lane, transport: Transport, *, linger: Callable[[], float]) -> None:
        self.start = Coalescer[Held, Starts](self._note)
        self.alone = Coalescer[Held, Starts](self._note_alone)
        self.ack = Coalescer[Held, Acked](self._acknowledge, linger=linger)
        self.beginnings = Beginnings()
        self._lane = lane
        self._transport = transport

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Let the task group own what is told; before the first of it."""
        self.start.run_in(tasks)
        self.alone.run_in(tasks)
        self.ack.run_in(tasks)

    async def _note(self, starting: Sequence[Held]) -> Sequence[Starts]:
        counts = await self._transport.started(self._lane, runs_of(starting))
        for held, starts in zip(starting, counts, strict=True):
            # A first delivery does not wait for this answer.
            if starts.begun < 0 and not held.settled:
                held.lose()
        return counts

    async def _note_alone(self, starting: Sequence[Held]) -> Sequence[Starts]:
        return await self._transport.started(self._lane, runs_of(starting), alone=True)

    async def _acknowledge(self, settled: Sequence[Held]) -> Sequence[Acked]:
        return await self._transport.ack(self._lane, [held.entry.id for held in settled])
