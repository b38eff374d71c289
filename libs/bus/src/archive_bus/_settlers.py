"""Where starts and acknowledgements of one loop turn travel together."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from archive_bus._beginnings import Beginnings
from archive_bus._coalesce import Batches, Coalescer
from archive_bus._errors import BusUnavailable
from archive_bus._held import Held, runs_of
from archive_bus._transport import Acked, Lane, Starts, Transport


class Settled(Protocol):
    """Who hears what became of acknowledgements."""

    def acked(self, settled: Collection[Held], outcomes: Sequence[Acked]) -> None:
        """Let go of what is over here."""
        ...

    def unacked(self, settled: Collection[Held], error: BusUnavailable) -> None:
        """See to entries that are done, and the server could not be told."""
        ...


class Settlers:
    """What a consumer tells the server of what it has in hand.

    ``start`` notes runs that begin, ``alone`` those of suspects, ``ack`` settles, of which ``then`` hears;
    acknowledgements wait for others as long as ``linger`` says, in seconds.
    """

    def __init__(self, lane: Lane, transport: Transport, *, then: Settled, linger: Callable[[], float]) -> None:
        self.start = Coalescer[Held, Starts](self._note)
        self.alone = Coalescer[Held, Starts](self._note_alone)
        self.ack = Batches[Held, None](self._acknowledge, linger=linger)
        self.beginnings = Beginnings()
        self._lane = lane
        self._transport = transport
        self._then = then

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Let the task group own what is told; before the first of it."""
        self.start.run_in(tasks)
        self.alone.run_in(tasks)
        self.ack.run_in(tasks)

    def settled(self, held: Held, outcome: Acked) -> None:
        """Say what became of an entry that was settled by itself."""
        self._then.acked([held], [outcome])

    async def _note(self, starting: Sequence[Held]) -> Sequence[Starts]:
        counts = await self._transport.started(self._lane, runs_of(starting))
        for held, starts in zip(starting, counts, strict=True):
            # A first delivery does not wait for this answer.
            if starts.begun < 0 and not held.settled:
                held.lose()
        return counts

    async def _note_alone(self, starting: Sequence[Held]) -> Sequence[Starts]:
        return await self._transport.started(self._lane, runs_of(starting), alone=True)

    async def _acknowledge(self, settled: dict[Held, None]) -> None:
        try:
            outcomes = await self._transport.ack(self._lane, [held.entry.id for held in settled])
        except BusUnavailable as error:
            self._then.unacked(settled, error)
        else:
            self._then.acked(settled, outcomes)
