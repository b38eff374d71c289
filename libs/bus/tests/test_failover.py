"""A master that is lost takes nothing with it that a publisher was told is safe."""

import asyncio
import shutil
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from bus_peers import CHAT, bus_of, ready

from archive_bus import Bus, BusUnavailable, Delivery
from archive_contracts.chat import ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.guarantees import Figure
from archive_testkit.sentinels import WatchedServers
from archive_testkit.waiting import eventually

NO_REDIS = pytest.mark.skipif(not shutil.which("redis-server"), reason="there is no redis-server")
STREAM = replace(CHAT_REQUESTS, lease=timedelta(seconds=3), retention=timedelta(hours=1))
CUT_S = 2.0


async def all_on(bus: Bus) -> set[str]:
    kept: set[str] = set()
    async for received in bus.follow(STREAM, since=timedelta(hours=1)):
        if received is None:
            break
        kept.add(received.envelope.id)
    return kept


@pytest.mark.guarantee("G1", "G10")
@pytest.mark.parametrize("binary", ["", pytest.param("redis-server", marks=NO_REDIS)])
async def test_failover_loses_nothing_accepted(binary: str, figure: Figure) -> None:
    accepted: dict[str, float] = {}
    seen: set[str] = set()
    stop = asyncio.Event()

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.add(delivery.envelope.id)

    async def publish(gateway: Bus) -> None:
        while not stop.is_set():
            accepted[await gateway.publish(CHAT, to=STREAM)] = time.monotonic()
            await asyncio.sleep(0.005)

    servers = WatchedServers(binary=binary or None)
    await asyncio.to_thread(servers.__enter__)
    try:
        async with (
            bus_of("gateway", servers.url, patience_s=60) as gateway,
            bus_of("router", servers.url, patience_s=60) as router,
        ):
            router.subscribe(STREAM, {ChatRequested: handle})
            await ready(gateway)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(4):
                    tasks.create_task(publish(gateway))
                await eventually(lambda: len(accepted) > 100, within=30)
                # What is accepted from here on would be lost if a replica were not waited for.
                await asyncio.to_thread(servers.cut_replication)
                await asyncio.sleep(CUT_S)
                await asyncio.to_thread(servers.kill_master)
                killed = time.monotonic()
                await eventually(lambda: max(accepted.values()) > killed + 0.5, within=60)
                figure("publishes again after", min(at for at in accepted.values() if at > killed + 0.5) - killed, "s")
                await asyncio.sleep(0.5)
                stop.set()
            await eventually(lambda: accepted.keys() <= seen, within=40)
            # The consumer may have handled what the old master alone had: the new one has to have all of it.
            kept = await all_on(gateway)
    finally:
        await asyncio.to_thread(servers.__exit__, None, None, None)
    figure("lost", len(accepted.keys() - kept))
    assert accepted.keys() <= kept


async def test_absent_replicas_are_no_success(redis_url: str) -> None:
    async with bus_of("gateway", f"{redis_url}?durability=replicated", state=redis_url) as gateway:
        with pytest.raises(BusUnavailable):
            await gateway.publish(CHAT, to=STREAM, timeout=1.5)
