"""Inbox keys, in memory."""

from datetime import timedelta

from archive_bus import Acked, BusUnavailable, Lane, Turn
from archive_contracts.streams import Server
from archive_testkit.memory_broker import Broker
from archive_testkit.memory_log import id_of

DONE = "done"


class MemoryInboxes:
    """The same rules as the scripts."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def begin(self, lane: Lane, entry_id: str, message_id: str, *, window: timedelta) -> Turn:
        """Reserve a message for one of its entries."""
        if not self._broker.answers(Server.BUS):
            raise BusUnavailable("the bus server does not answer")
        group, place = self._broker.group(lane.key, lane.group), f"{lane.key}:{lane.group}"
        if group is None or not group.owns(lane.consumer, id_of(entry_id)):
            return Turn.LOST
        known = self._broker.known(place, message_id)
        if known == DONE:
            return Turn.DONE
        if known and known != entry_id and id_of(known) in group.pending:
            return Turn.LATER
        self._broker.remember(place, message_id, entry_id, for_s=window.total_seconds())
        return Turn.NOW

    async def settle(self, lane: Lane, entry_id: str, message_id: str, *, window: timedelta) -> Acked:
        """Acknowledge an entry and note its message as handled."""
        (outcome,) = self._broker.ack(lane, [entry_id])
        if outcome is Acked.DONE:
            self._broker.remember(f"{lane.key}:{lane.group}", message_id, DONE, for_s=window.total_seconds())
        return outcome
