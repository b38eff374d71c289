"""Inbox keys: what a group has handled."""

from datetime import timedelta

from archive_bus._inbox import Turn
from archive_bus._redis.connections import Connections, settled
from archive_bus._redis.settling import lane_keys
from archive_bus._transport import Acked, Lane


class RedisInboxes:
    """One key for each group and message id, which vanishes after the window."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def begin(self, lane: Lane, entry_id: str, message_id: str, *, window: timedelta) -> Turn:
        """Reserve a message for one of its entries."""
        args = (lane.group, lane.consumer, entry_id, int(window.total_seconds() * 1000))
        sent = self._connections.settler.script("begin_once", [lane.key, _inbox(lane, message_id)], args)
        return Turn(await settled(sent, gone=Turn.LOST))

    async def settle(self, lane: Lane, entry_id: str, message_id: str, *, window: timedelta) -> Acked:
        """Acknowledge an entry and note its message as handled."""
        args = (lane.group, lane.consumer, entry_id, int(window.total_seconds() * 1000))
        keys = [*lane_keys(lane)[:2], _inbox(lane, message_id)]
        return Acked(await settled(self._connections.settler.script("ack_once", keys, args), gone=Acked.TAKEN))


def _inbox(lane: Lane, message_id: str) -> str:
    return f"{lane.key}:{lane.group}:done:{message_id}"
