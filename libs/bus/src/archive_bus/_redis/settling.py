"""Claims, attempts, leases, settlements and trimming of what groups read."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from archive_bus._redis.connections import Connections, settled
from archive_bus._transport import Entry, Lane, Starts
from archive_bus._writer import Argument
from archive_contracts.streams import Stream, dead_letters

HANDED_BACK_IDLE_MS = 1_000_000_000
CLAIM_PAGES = 16
MOST_HELD = 10_000


class Settling:
    """What a consumer does with entries that it was given."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._scanned: dict[tuple[str, str], str] = {}

    async def claim(self, lane: Lane, *, count: int) -> Sequence[Entry]:
        """Take over entries that have been idle for the lease."""
        lease = int(lane.stream.lease.total_seconds() * 1000)
        place = (lane.key, lane.group)
        for _ in range(CLAIM_PAGES):
            # One call looks at ten times COUNT pending entries. Behind those that others are busy with it would never
            # find a free one, so the scan goes on where the last one stopped.
            start = self._scanned.pop(place, "0-0")
            command = ("XAUTOCLAIM", lane.key, lane.group, lane.consumer, lease, start, "COUNT", count)
            following, rows, *_ = await settled(self._connections.settler.send(*command), gone=(b"0-0", ()))
            if following != b"0-0":
                self._scanned[place] = following.decode()
            if rows or following == b"0-0":
                return [Entry(name.decode(), _pairs(fields), redelivered=True) for name, fields in rows if fields]
        return ()

    async def started(self, lane: Lane, ids: Sequence[str]) -> Sequence[Starts]:
        """Count executions that begin."""
        counts = await self._settle("started", [_attempts(lane)], ids)
        return [Starts(begun, failed) for begun, failed in counts]

    async def ack(self, lane: Lane, ids: Sequence[str]) -> Sequence[bool]:
        """Acknowledge what is still owned."""
        outcome = await self._settle("ack", [lane.key, _attempts(lane)], [lane.group, lane.consumer, *ids])
        return [bool(done) for done in outcome] if outcome is not None else [False] * len(ids)

    async def extend(self, lane: Lane, ids: Sequence[str]) -> Sequence[str]:
        """Renew leases; returns the ids that were lost."""
        lost = await self._settle("extend", [lane.key], [lane.group, lane.consumer, *ids])
        return [entry_id.decode() for entry_id in lost] if lost is not None else list(ids)

    async def park(self, lane: Lane, entry_id: str, *, delay_s: float, failed: bool = True) -> None:
        """Let any consumer have the entry after the delay."""
        lease = lane.stream.lease.total_seconds()
        idle = int(max(0.0, lease - delay_s) * 1000)
        await self._release(lane, [entry_id], idle=idle, begun=0 if failed else -1, failed=int(failed))

    async def hand_back(self, lane: Lane, ids: Sequence[str], *, begun: bool) -> None:
        """Let any consumer have the entries at once."""
        await self._release(lane, ids, idle=HANDED_BACK_IDLE_MS, begun=-1 if begun else 0, failed=0)

    async def _release(self, lane: Lane, ids: Sequence[str], *, idle: int, begun: int, failed: int) -> None:
        args: list[Argument] = [lane.group, lane.consumer, idle, begun, failed, *ids]
        await self._settle("release", [lane.key, _attempts(lane)], args)

    async def unbegun(self, lane: Lane) -> Sequence[str]:
        """Return what the consumer holds without ever having begun it."""
        command = ("XPENDING", lane.key, lane.group, "-", "+", MOST_HELD, lane.consumer)
        rows = await settled(self._connections.settler.send(*command), gone=())
        if not rows:
            return ()
        held = [row[0].decode() for row in rows]
        begun = await settled(self._connections.settler.send("HMGET", _attempts(lane), *held), gone=())
        return [entry_id for entry_id, count in zip(held, begun, strict=True) if count is None]

    async def bury(self, lane: Lane, entry: Entry, cause: Mapping[str, str]) -> bool:
        """Move an entry to the dead letters with its cause and its raw fields."""
        fields: list[Argument] = ["entry", entry.id, "group", lane.group, "at", str(int(time.time() * 1000))]
        for name, value in cause.items():
            fields += [f"cause.{name}", value]
        for name, value in entry.fields.items():
            fields += [b"raw." + name, value]
        keys = [lane.key, _attempts(lane), dead_letters(lane.key, lane.group)]
        reply = await self._settle("bury", keys, [lane.group, lane.consumer, entry.id, *fields])
        return reply is not None

    async def trim(self, stream: Stream, partition: str) -> int:
        """Drop what every group has acknowledged and the retention does not keep."""
        keep_from = int((time.time() - stream.retention.total_seconds()) * 1000)
        return await self._settle("trim", [stream.physical(partition)], [keep_from])

    async def _settle(self, script: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        return await settled(self._connections.settler.script(script, keys, args), gone=None)


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _attempts(lane: Lane) -> str:
    return f"{lane.key}:{lane.group}:attempts"
