"""What was given up without the server's knowledge."""

from collections.abc import Set
from dataclasses import replace

from archive_bus._held import Held, runs_of
from archive_bus._transport import Lane, Transport

NAMELESS = ""
"""A consumer that owns nothing: what it lets go of stays where it is."""


class Adrift:
    """Entries that a consumer still owns by the server's books; handed back once it can be told, they run at once."""

    def __init__(self, lane: Lane, transport: Transport) -> None:
        self.lane = lane
        self._transport = transport
        self._held: dict[Held, None] = {}

    @property
    def ids(self) -> Set[str]:
        """Which entries these are."""
        return {held.entry.id for held in self._held}

    def add(self, held: Held) -> None:
        """Hand an entry back later, and take its run back, or charge the failure that it ended with."""
        self._held[held] = None

    def forsake(self) -> None:
        """Leave the entries to whoever has them by now, also by this consumer's own name; tell what became of runs."""
        self.lane = replace(self.lane, consumer=NAMELESS)

    async def hand_back(self) -> int:
        """Hand back those whose handler is over; return how many.

        Raises:
            BusUnavailable: the server still cannot be told of all.
        """
        over, told = [held for held in self._held if held.acking or not held.begun], 0
        for failed in (True, False):
            # One run an entry: another of the same is told next time.
            if back := {held.entry.id: held for held in over if held.spent is failed}:
                await self._transport.release(self.lane, runs_of(back.values()), failed=failed)
                # At once: this process may claim them in the next moment.
                for held in back.values():
                    self._held.pop(held, None)
                told += len(back)
        return told
