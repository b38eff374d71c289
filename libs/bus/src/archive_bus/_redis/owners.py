"""Owners of ordered partitions."""

import logging
from collections.abc import Sequence
from typing import Any

from archive_bus._backlog import NOBODY
from archive_bus._errors import BusUnavailable
from archive_bus._lease import clock
from archive_bus._link import AWAY
from archive_bus._owners import Adopted, Owner, Taken
from archive_bus._redis.connections import SETTLE_TIMEOUT_S, Connections, accepted, settled
from archive_bus._redis.publishing import Publishing
from archive_bus._redis.settling import lane_keys, pairs
from archive_bus._transport import Entry, Lane
from archive_contracts.streams import Server

log = logging.getLogger(__name__)

RING_MS = 1000
PAGE = 500


class RedisOwners:
    """Leases with fencing tokens; owners read by a script that checks theirs."""

    def __init__(self, connections: Connections, publishing: Publishing) -> None:
        self._connections = connections
        self._publishing = publishing

    async def present(self, lane: Lane, *, life_s: float) -> Sequence[str]:
        """Say that the lane's consumer takes part in its stream, or leaves."""
        key = f"{lane.stream.physical()}:{lane.group}:members"
        args = (lane.consumer, int(life_s * 1000))
        members = await accepted(self._connections.settler.script("present", [key], args), SETTLE_TIMEOUT_S)
        return [member.decode() for member in members]

    async def own(self, lane: Lane, *, lease_s: float) -> Owner | None:
        """Take, keep or let go of a partition."""
        keys = [_owner(lane), f"{lane.key}:{lane.group}:fence"]
        args = (lane.consumer, int(lease_s * 1000))
        token = await accepted(self._connections.settler.script("own", keys, args), SETTLE_TIMEOUT_S)
        return Owner(lane.consumer, token) if token else None

    async def adopt(self, lane: Lane, owner: Owner) -> Adopted | None:
        """Take over all that is pending."""
        taken: list[Entry] = []
        parked: list[Entry] = []
        after, lease = "0-0", int(lane.stream.lease.total_seconds() * 1000)
        keys = [lane.key, _owner(lane), lane_keys(lane)[2]]
        while True:
            since = clock()
            args = (str(owner), lane.group, lane.consumer, NOBODY, lease, after, PAGE)
            reply = await self._read("adopt", lane, keys, args)
            if reply is None:
                return None
            looked_at, claimed, waiting, last = reply
            taken += [Entry(name.decode(), pairs(fields), redelivered=True, since=since) for name, fields in claimed]
            parked += [Entry(name.decode(), pairs(fields), redelivered=True, since=since) for name, fields in waiting]
            if looked_at < PAGE:
                return Adopted(taken, parked)
            after = last.decode()

    async def take(self, lane: Lane, owner: Owner, *, after: str, most: int) -> Taken | None:
        """Read what a lost reply was to bring, else what is new."""
        since = clock()
        args = (str(owner), lane.group, lane.consumer, after, most)
        reply = await self._read("take", lane, [lane.key, _owner(lane)], args)
        if reply is None:
            return None
        rows, again, reached = reply
        entries = [Entry(name.decode(), pairs(fields), redelivered=bool(again), since=since) for name, fields in rows]
        return Taken(entries, reached.decode())

    async def changed(self, lane: Lane, *, since: str) -> None:
        """Return when the stream has gone beyond an id, or after about a second."""
        try:
            async with self._connections.readers[Server.BUS].one() as link:
                await link.call(
                    "XREAD", "COUNT", 1, "BLOCK", RING_MS, "STREAMS", lane.key, since, wait_s=RING_MS / 1000
                )
        except AWAY as error:
            raise BusUnavailable(f"the server is away: {error}") from error

    async def pending(self, lane: Lane, ids: Sequence[str]) -> Sequence[bool]:
        """Return which entries the group has not settled."""
        settler = self._connections.settler
        asked = [settler.send("XPENDING", lane.key, lane.group, one, one, 1) for one in ids]
        return [bool(await settled(reply, gone=())) for reply in asked]

    async def _read(self, script: str, lane: Lane, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        while True:
            reply = await settled(self._connections.settler.script(script, keys, args), gone=_GONE)
            if reply is not _GONE:
                return reply
            if script == "take":
                # Who adopts may be the first ever to ask; who takes has read from the group before.
                log.error(
                    "%s is gone with its group: unless it was dropped on purpose, its messages are lost", lane.key
                )
            await self._publishing.ensure(
                self._connections.settler, lane.stream, lane.key, SETTLE_TIMEOUT_S, joining=lane.group
            )


_GONE = object()


def _owner(lane: Lane) -> str:
    return f"{lane.key}:{lane.group}:owner"
