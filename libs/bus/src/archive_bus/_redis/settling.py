"""Claims, runs, leases, settlements and trimming of what groups read."""

import time
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from archive_bus._backlog import NOBODY, Backlog, backlog_of
from archive_bus._lease import clock
from archive_bus._letters import letter_of
from archive_bus._link import Argument
from archive_bus._redis.connections import Connections, settled
from archive_bus._transport import SUSPECT_AFTER, Acked, Entry, Lane, Runs, Starts
from archive_contracts.streams import Stream, dead_letters

SILENCE_S = 60.0
CLAIM_PAGES = 16
MOST_HELD = 10_000
ACKED = {int(each): each for each in Acked}


class Settling:
    """What a consumer does with entries that it was given."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._scanned: dict[tuple[str, str], str] = {}

    async def claim(self, lane: Lane, *, count: int) -> Sequence[Entry]:
        """Take over entries that have been idle for the lease."""
        place = (lane.key, lane.group)
        for _ in range(CLAIM_PAGES):
            # One call looks at ten times COUNT pending entries. Behind those that others are busy with it would never
            # find a free one, so the scan goes on where the last one stopped.
            start, since = self._scanned.pop(place, "0-0"), clock()
            args = (lane.group, lane.consumer, NOBODY, _lease_ms(lane), start, count)
            following, rows = await self._settle("claim", lane_keys(lane), args) or (b"0-0", ())
            if following != b"0-0":
                self._scanned[place] = following.decode()
            if rows or following == b"0-0":
                return [Entry(name.decode(), pairs(fields), redelivered=True, since=since) for name, fields in rows]
        return ()

    async def recover(self, lane: Lane) -> Sequence[Entry]:
        """Return what this consumer owns, its leases renewed."""
        since = clock()
        rows = await self._settle("recover", [lane.key], (lane.group, lane.consumer, MOST_HELD))
        return [Entry(name.decode(), pairs(fields), redelivered=True, since=since) for name, fields in rows or ()]

    async def started(self, lane: Lane, runs: Runs, *, alone: bool = False) -> Sequence[Starts]:
        """Note runs that begin."""
        args = (lane.group, lane.consumer, 0 if alone else SUSPECT_AFTER, *chain.from_iterable(runs.items()))
        counts = await self._settle("started", lane_keys(lane)[:2], args)
        if counts is None:
            # With the group its counts are gone, and nobody else can have the entries: what runs is their first run.
            return [Starts(begun=1, failed=0)] * len(runs)
        return [Starts(begun, failed) for begun, failed in counts]

    async def ack(self, lane: Lane, ids: Sequence[str]) -> Sequence[Acked]:
        """Acknowledge what is still owned."""
        outcome = await self._settle("ack", lane_keys(lane)[:2], (lane.group, lane.consumer, *ids))
        return [ACKED[done] for done in outcome] if outcome is not None else [Acked.TAKEN] * len(ids)

    async def extend(self, lane: Lane, ids: Sequence[str]) -> Sequence[str]:
        """Renew leases; returns the ids that were lost."""
        lost = await self._settle("extend", [lane.key], (lane.group, lane.consumer, *ids))
        return [entry_id.decode() for entry_id in lost] if lost is not None else list(ids)

    async def release(self, lane: Lane, runs: Runs, *, delay_s: float = 0.0, failed: bool = False) -> None:
        """Let any consumer have the entries after the delay."""
        delay, mark, each = int(delay_s * 1000), "!" if failed else "", chain.from_iterable(runs.items())
        args = (lane.group, lane.consumer, NOBODY, _lease_ms(lane), delay, mark, *each)
        await self._settle("release", lane_keys(lane), args)

    async def unbegun(self, lane: Lane) -> Sequence[str]:
        """Return what the consumer holds without ever having begun it."""
        command = ("XPENDING", lane.key, lane.group, "-", "+", MOST_HELD, lane.consumer)
        rows = await settled(self._connections.settler.send(*command), gone=())
        if not rows:
            return ()
        held = [row[0].decode() for row in rows]
        begun = await settled(self._connections.settler.send("HMGET", lane_keys(lane)[1], *held), gone=())
        return [entry_id for entry_id, count in zip(held, begun, strict=True) if count is None]

    async def bury(self, lane: Lane, entry: Entry, cause: Mapping[str, str]) -> bool:
        """Move an entry to the dead letters with its cause and its raw fields."""
        fields = chain.from_iterable(letter_of(lane, entry, cause).items())
        keys = [*lane_keys(lane), dead_letters(lane.key, lane.group)]
        reply = await self._settle("bury", keys, [lane.group, lane.consumer, entry.id, *fields])
        return reply is not None

    async def trim(self, stream: Stream, partition: str) -> int:
        """Drop what every group has acknowledged and the retention does not keep."""
        keep_from = int((time.time() - stream.retention.total_seconds()) * 1000)
        return await self._settle("trim", [stream.physical(partition)], [keep_from, *stream.consumers])

    async def reap(self, lane: Lane, *, leaving: bool = False) -> None:
        """Remove consumers that own nothing and are silent, or this one when it is leaving."""
        silence = int(max(SILENCE_S, 4 * lane.stream.lease.total_seconds()) * 1000)
        await self._settle("reap", [lane.key], (lane.group, silence, lane.consumer if leaving else ""))

    async def backlog(self, lane: Lane) -> Backlog | None:
        """Return how the group stands."""
        rows = await self._settle("backlog", [lane.key], (NOBODY, lane.group))
        return backlog_of(rows[0]) if rows else None

    async def _settle(self, script: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        return await settled(self._connections.settler.script(script, keys, args), gone=None)


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the fields of an entry from the flat list that a script returns."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def lane_keys(lane: Lane) -> list[str]:
    """Return the stream, the runs of its entries, and what is parked of it."""
    place = f"{lane.key}:{lane.group}"
    return [lane.key, f"{place}:runs", f"{place}:parked"]


def _lease_ms(lane: Lane) -> int:
    return int(lane.stream.lease.total_seconds() * 1000)
