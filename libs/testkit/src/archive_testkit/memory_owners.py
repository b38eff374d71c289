"""Owners of ordered partitions, in memory."""

from collections.abc import Sequence

from archive_bus import Adopted, BusUnavailable, Entry, Lane, Owner, Taken, clock
from archive_contracts.streams import Server
from archive_testkit.memory_broker import Broker
from archive_testkit.memory_log import NOBODY, Held, id_of, text_of

IDLE_S = 1.0


class MemoryOwners:
    """The same rules as the scripts."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def present(self, lane: Lane, *, life_s: float) -> Sequence[str]:
        """Say that the lane's consumer takes part in its stream, or leaves."""
        self._answering()
        now, members = self._broker.now(), self._broker.members[f"{lane.stream.name}:{lane.group}"]
        members[lane.consumer] = now + life_s
        for gone in [name for name, until in members.items() if until <= now]:
            del members[gone]
        return list(members)

    async def own(self, lane: Lane, *, lease_s: float) -> Owner | None:
        """Take, keep or let go of a partition."""
        self._answering()
        now, place = self._broker.now(), f"{lane.key}:{lane.group}"
        process, token, until = self._broker.owned.get(place, ("", 0, 0.0))
        if until > now and process != lane.consumer:
            return None
        if until <= now:
            token = max(int(now * 1000), token + 1)
        self._broker.owned[place] = (lane.consumer, token, now + lease_s)
        return Owner(lane.consumer, token) if lease_s else None

    async def adopt(self, lane: Lane, owner: Owner) -> Adopted | None:
        """Take over all that is pending."""
        if not self._owns(lane, owner):
            return None
        self._broker.ensure(lane.key, tuple(lane.stream.consumers))
        log, group, now = self._broker.log(lane.key), self._broker.group(lane.key, lane.group), self._broker.now()
        taken: list[Entry] = []
        parked: list[Entry] = []
        if log is None or group is None:
            return Adopted(taken, parked)
        for place in sorted(set(group.pending) & set(log.fields)):
            entry = Entry(text_of(place), log.fields[place], redelivered=True, since=clock())
            if group.pending[place].consumer == NOBODY and group.pending[place].parked > now:
                parked.append(entry)
            else:
                group.pending[place] = Held(lane.consumer, now)
                taken.append(entry)
        return Adopted(taken, parked)

    async def take(self, lane: Lane, owner: Owner, *, after: str, most: int) -> Taken | None:
        """Read what was given beyond the last id that arrived, else what is new."""
        if not self._owns(lane, owner):
            return None
        self._broker.ensure(lane.key, tuple(lane.stream.consumers))
        entries = self._given(lane, after)[:most] or self._broker.take(lane, count=most)
        log = self._broker.log(lane.key)
        return Taken(entries, text_of(log.last) if log else "0-0")

    def _given(self, lane: Lane, after: str) -> list[Entry]:
        log, group = self._broker.log(lane.key), self._broker.group(lane.key, lane.group)
        if log is None or group is None:
            return []
        mine = [
            place for place, held in group.pending.items() if held.consumer == lane.consumer and place > id_of(after)
        ]
        return [
            Entry(text_of(place), log.fields[place], redelivered=True, since=clock())
            for place in sorted(set(mine) & set(log.fields))
        ]

    async def changed(self, lane: Lane, *, since: str) -> None:
        """Return when the stream has gone beyond an id, or after about a second."""
        log = self._broker.log(lane.key)
        if log is None or log.last <= id_of(since):
            await self._broker.changed(within_s=IDLE_S)

    async def pending(self, lane: Lane, ids: Sequence[str]) -> Sequence[bool]:
        """Return which entries the group has not settled."""
        group = self._broker.group(lane.key, lane.group)
        return [group is not None and id_of(entry_id) in group.pending for entry_id in ids]

    def _owns(self, lane: Lane, owner: Owner) -> bool:
        self._answering()
        process, token, until = self._broker.owned.get(f"{lane.key}:{lane.group}", ("", 0, 0.0))
        return (process, token) == (owner.process, owner.fence) and until > self._broker.now()

    def _answering(self) -> None:
        if not self._broker.answers(Server.BUS):
            raise BusUnavailable("the bus server does not answer")
