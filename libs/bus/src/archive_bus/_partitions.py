"""The partitions of an ordered stream, shared out among the processes of a group."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from archive_bus._adrift import Adrift
from archive_bus._errors import BusUnavailable
from archive_bus._lease import clock
from archive_bus._metrics import Sample, merged
from archive_bus._ordered import OrderedConsumer
from archive_bus._owners import Owner
from archive_bus._transport import Lane, Prefetch, Transport

log = logging.getLogger(__name__)

LET_GO_S = 2.0
"""How long the server is asked to give a partition to others: else they have it when its lease ends."""
Build = Callable[[Lane, Owner], OrderedConsumer]


def shares(partitions: int, members: Sequence[str]) -> dict[str, list[int]]:
    """Return which partitions each member should own: as evenly as can be, the same whoever asks.

    Each partition goes to the member with the highest hash of both (rendezvous hashing) that has room left.
    """
    owned: dict[str, list[int]] = {member: [] for member in sorted(set(members))}
    if not owned:
        return {}
    base, extra = divmod(partitions, len(owned))
    for partition in range(partitions):
        # Once as many as can be have one more than the others, nobody else may.
        fuller = sum(len(has) > base for has in owned.values())
        room = [name for name, has in owned.items() if len(has) < base + (fuller < extra)]
        owned[max(room, key=lambda name: _weight(name, partition))].append(partition)
    return owned


def _weight(member: str, partition: int) -> bytes:
    return blake2b(f"{member}\n{partition}".encode(), digest_size=8).digest()


@dataclass(slots=True)
class _Owned:
    consumer: OrderedConsumer
    task: asyncio.Task[None]
    leaving: asyncio.Task[None] | None = None
    let_go: bool = False


class Partitions:
    """Owns this process's share of an ordered stream, and gives and takes as processes come and go."""

    def __init__(self, lane: Lane, transport: Transport, build: Build, *, grace_s: float) -> None:
        self.lane = lane
        self._transport = transport
        self._build = build
        self._prefetch: Prefetch = lambda: 1
        self._grace_s = grace_s
        self._lease_s = lane.stream.lease.total_seconds()
        self._owned: dict[int, _Owned] = {}
        self._former: list[Sample] = []
        self._forsaken: list[Adrift] = []
        self._entering: Lane | None = None
        self._draining = False
        self._beating: asyncio.Task[None] | None = None

    @property
    def consumers(self) -> Sequence[OrderedConsumer]:
        """The consumers of the partitions that this process owns."""
        return [owned.consumer for owned in self._owned.values()]

    @property
    def samples(self) -> Sequence[Sample]:
        """How the partitions stand, and what became of their messages, also of those that this process owns no more."""
        return [*self._former, *(sample for consumer in self.consumers for sample in consumer.samples)]

    async def serve(self, *, prefetch: Prefetch) -> None:
        """Own, read and rebalance until cancelled."""
        self._prefetch = prefetch
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._beating = tasks.create_task(self._beat())

    async def drain(self, grace_s: float) -> None:
        """Let what runs finish within the grace, hand the rest back, and leave all partitions to others."""
        self._draining = True
        if self._beating:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        async with asyncio.TaskGroup() as leaving:
            keeping = leaving.create_task(self._keep_all())
            await asyncio.gather(*(self._left(partition, owned, grace_s) for partition, owned in self._all()))
            keeping.cancel()
        try:
            async with asyncio.timeout(LET_GO_S):
                if self._entering:
                    await self._transport.owners.own(self._entering, lease_s=0.0)
                await self._transport.owners.present(self.lane, life_s=0.0)
                await self._tell()
        except (BusUnavailable, TimeoutError):
            log.warning("%s: cannot take leave; others take over after the lease", self.lane.key)

    @property
    def untold(self) -> Sequence[Adrift]:
        """What the server is still to be told of once this is over."""
        return self._forsaken

    def _all(self) -> list[tuple[int, _Owned]]:
        return list(self._owned.items())

    def _pause_s(self) -> float:
        return min(1.0, self._lease_s / 5) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load

    async def _beat(self) -> None:
        while True:
            try:
                await self._share()
                await self._tell()
            except BusUnavailable as error:
                log.warning("%s: %s; trying again", self.lane.key, error)
            await asyncio.sleep(self._pause_s())

    async def _keep_all(self) -> None:
        """Stay the owner of what is being left until it is."""
        while True:
            await asyncio.sleep(self._pause_s())
            for partition, owned in self._all():
                try:
                    await self._keep(partition, owned)
                except BusUnavailable as error:
                    log.warning("%s: %s; trying again", owned.consumer.lane.key, error)

    async def _tell(self) -> None:
        """Tell of runs that ended with the right to their partition; else they would count as silent ones."""
        for adrift in tuple(self._forsaken):
            await adrift.hand_back()
            if not adrift.ids:
                self._forsaken.remove(adrift)

    async def _share(self) -> None:
        for partition, owned in self._all():
            await self._keep(partition, owned)
        members = await self._transport.owners.present(self.lane, life_s=self._lease_s)
        mine = shares(self.lane.stream.partitions, members).get(self.lane.consumer, [])
        for partition, owned in self._all():
            if partition not in mine and owned.leaving is None:
                owned.leaving = self._tasks.create_task(self._leave(partition, owned, self._grace_s))
        for partition in mine:
            if partition not in self._owned:
                await self._enter(partition)

    async def _left(self, partition: int, owned: _Owned, grace_s: float) -> None:
        if owned.leaving:
            await asyncio.wait([owned.leaving])
        else:
            await self._leave(partition, owned, grace_s)

    async def _keep(self, partition: int, owned: _Owned) -> None:
        if owned.let_go:
            return
        lane, since = owned.consumer.lane, clock()
        if await self._transport.owners.own(lane, lease_s=self._lease_s) == owned.consumer.owner:
            owned.consumer.owned_until = since + self._lease_s
            return
        if owned.let_go:
            return
        log.warning("%s: another process owns it now", lane.key)
        owned.consumer.abandon()
        self._forget(partition, owned)

    async def _enter(self, partition: int) -> None:
        lane, since = replace(self.lane, partition=str(partition)), clock()
        self._entering = lane  # until it is in the books: a drain that comes in between lets go of it
        owner = await self._transport.owners.own(lane, lease_s=self._lease_s)
        if self._draining:
            return
        self._entering = None
        if owner is None:
            return  # its owner has not let go yet
        consumer = self._build(lane, owner)
        consumer.owned_until = since + self._lease_s
        task = self._tasks.create_task(consumer.serve(prefetch=self._prefetch))
        self._owned[partition] = _Owned(consumer, task)

    async def _leave(self, partition: int, owned: _Owned, grace_s: float) -> None:
        await owned.consumer.drain(grace_s)
        # Its handlers end with it; until they have, nobody else may begin what comes after them.
        owned.task.cancel()
        await asyncio.wait([owned.task], timeout=self._lease_s)
        owned.let_go = True
        try:
            if owned.task.done() and self._owned.get(partition) is owned:
                async with asyncio.timeout(LET_GO_S):
                    await self._transport.owners.own(owned.consumer.lane, lease_s=0.0)
        except (BusUnavailable, TimeoutError):
            log.warning("%s: cannot be let go; its next owner waits for the lease", owned.consumer.lane.key)
        self._forget(partition, owned)

    def _forget(self, partition: int, owned: _Owned) -> None:
        if self._owned.get(partition) is owned:
            del self._owned[partition]
            self._forsaken.append(owned.consumer.forsake())
            self._former = merged([*self._former, *(sample.ended() for sample in owned.consumer.samples)])
        owned.task.cancel()
