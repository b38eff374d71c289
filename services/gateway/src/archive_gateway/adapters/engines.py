"""The live view of the engines, fed by their broadcast."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from archive_bus import Bus
from archive_contracts.engine import EngineLeft, EngineRegistered
from archive_contracts.streams import ENGINE_EVENTS
from archive_gateway.domain.roster import Member, Offer, Roster

BACKLOG = timedelta(seconds=10)
"""Heartbeats before the start that still count: nobody waits for the next one."""


class EngineFollower:
    """Follows the heartbeats. ``clock`` is in seconds and does not go back."""

    def __init__(self, bus: Bus, *, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._clock = clock
        self._roster = Roster()

    async def follow(self) -> None:
        """Keep the view up to date until cancelled."""
        async for received in self._bus.follow(ENGINE_EVENTS, since=BACKLOG):
            if received and isinstance(received.message, EngineRegistered | EngineLeft):
                sent = int(received.entry_id.partition("-")[0]) / 1000
                self._roster.hear(received.message, now=self._clock(), at=sent)

    def members(self) -> Sequence[Member]:
        """Return the living workers."""
        return self._roster.engines(self._clock())

    def offers(self) -> dict[str, Offer]:
        """Return the models that can be asked for, by id."""
        return self._roster.offers(self._clock())
