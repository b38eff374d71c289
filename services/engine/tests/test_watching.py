"""A worker's view of its peers, as it follows their events."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis

from archive_bus import Bus, BusOptions, connect
from archive_contracts.base import Message
from archive_contracts.engine import EngineLeft, EngineRegistered, EngineSpec
from archive_contracts.envelope import Envelope, stamp
from archive_contracts.streams import ENGINE_EVENTS
from archive_engine.domain.guard import Guard
from archive_engine.handlers import watching


class Peers:
    """Writes what peers said some seconds ago, and takes down what the watch does about it."""

    def __init__(self, redis_url: str, bus: Bus) -> None:
        self._redis: Any = Redis.from_url(redis_url)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        self.adopted: list[str] = []
        self.dropped: list[str] = []
        self.may_close = asyncio.Event()
        self.may_close.set()
        self.watch = watching.Watch(
            bus, EngineSpec(name="e", base_url="http://e/v1", pool="p"), instance="", lanes=self, adopt=self._adopt
        )

    async def said(self, message: Message, *, ago_s: float = 0.0) -> None:
        """Have been told of an event."""
        at = int((time.time() - ago_s) * 1000)
        envelope = Envelope(id=f"{at}", type=message.type, source="engine", time=stamp(), data=message.to_json())
        await self._redis.xadd(ENGINE_EVENTS.physical(), envelope.to_fields(), id=f"{at}-*")

    async def drop(self, partition: str) -> None:
        """Take down that a lane would be removed."""
        self.dropped.append(partition)

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    def _adopt(self, worker: str) -> Callable[[], Awaitable[None]]:
        async def close() -> None:
            await self.may_close.wait()

        self.adopted.append(worker)
        return close


@pytest.fixture
async def peers(redis_url: str) -> AsyncIterator[Peers]:
    """Two workers that were heard a while ago, and nobody who watches yet."""
    async with connect(redis_url, redis_url, BusOptions(service="engine", grace_s=0.1)) as bus:
        told = Peers(redis_url, bus)
        for worker in ("living", "gone"):
            await told.said(beat(worker), ago_s=100.0)
        yield told
        await told.close()


def beat(worker: str) -> EngineRegistered:
    return EngineRegistered(
        worker=worker, engine="e", pool="p", models=(), capabilities=(), slots=1, directed=True, heartbeat_s=5.0
    )


async def watched(peers: Peers, until: Callable[[], bool]) -> None:
    """Watch until something is true."""
    watching_peers = asyncio.ensure_future(peers.watch.run(Guard(engine="e")))
    try:
        async with asyncio.timeout(60):
            while not until():
                await asyncio.sleep(0.01)
    finally:
        watching_peers.cancel()
        with suppress(asyncio.CancelledError):
            await watching_peers


async def test_newcomer_judges_when_it_has_read_all(peers: Peers) -> None:
    await peers.said(beat("living"), ago_s=1.0)
    await peers.said(EngineLeft(worker="gone", pool="p"))
    await watched(peers, lambda: "gone" in peers.adopted)
    assert peers.adopted == ["gone"]


async def test_lane_of_the_living_is_kept(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "ADOPTED_S", 0.0)
    peers.may_close.clear()

    async def come_back() -> None:
        while not {"gone", "living"} <= {*peers.adopted}:
            await asyncio.sleep(0.01)
        for event in (beat("living"), beat("last"), EngineLeft(worker="last", pool="p")):
            await peers.said(event)
        while "last" not in peers.adopted:
            await asyncio.sleep(0.01)
        peers.may_close.set()

    coming = asyncio.ensure_future(come_back())
    await watched(peers, lambda: len(peers.dropped) > 1)
    await coming
    assert sorted(peers.dropped) == ["p:gone", "p:last"]
