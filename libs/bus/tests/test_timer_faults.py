"""Ten thousand timers whose setter and one of whose readers are killed, and a server that is."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
from bus_peers import CHAT, bus_of, client_of

from archive_bus import Delivery
from archive_contracts.chat import ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.guarantees import Figure
from archive_testkit.servers import RedisServer
from archive_testkit.waiting import eventually

ALARM = Path(__file__).parent / "apps" / "alarm.py"
TIMERS = 10_000


@contextlib.asynccontextmanager
async def alarm(*words: str) -> AsyncGenerator[Process, None]:
    process = await asyncio.create_subprocess_exec(sys.executable, str(ALARM), *words, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(process: Process) -> None:
    assert process.stdout
    assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"


async def listen(process: Process, late_ms: dict[str, float]) -> None:
    """Collect what a reader tells until it ends or all timers have been told."""
    assert process.stdout
    while len(late_ms) < TIMERS and (line := await process.stdout.readline()):
        name, late = line.decode().split()
        late_ms.setdefault(name, float(late))


@pytest.mark.timeout(120)
@pytest.mark.guarantee("G14")
async def test_ten_thousand_timers_survive_kills(redis_url: str, figure: Figure) -> None:
    late_ms: dict[str, float] = {}
    async with alarm("hear", redis_url) as one, alarm("hear", redis_url) as two, alarm("idle", redis_url) as replica:
        await asyncio.gather(ready(one), ready(two), ready(replica))
        async with alarm("set", redis_url, str(TIMERS), "8", "10") as setter:
            await ready(setter)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for process in (one, two):
                tasks.create_task(listen(process, late_ms))
            while len(late_ms) < TIMERS // 2:
                await asyncio.sleep(0.01)
            one.kill()
    ordered = sorted(late_ms.values())
    figure("late p50", ordered[TIMERS // 2], "ms")
    figure("late p99", ordered[TIMERS * 99 // 100], "ms")
    assert len(late_ms) == TIMERS
    assert ordered[0] >= 0


@pytest.mark.guarantee("G14")
async def test_timers_survive_a_server_crash(redis_server: RedisServer) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.envelope.id)

    async with bus_of("gateway", redis_server.url) as gateway, bus_of("router", redis_server.url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        for number in range(50):
            await gateway.publish(CHAT, to=CHAT_REQUESTS, delay=timedelta(seconds=0.5), id=str(number))
        await asyncio.to_thread(redis_server.kill)
        await asyncio.sleep(0.6)
        await asyncio.to_thread(redis_server.start)
        await eventually(lambda: len(seen) == 50)
    assert len(set(seen)) == 50


@pytest.mark.guarantee("G14")
async def test_cut_connections_double_no_timer(redis_url: str) -> None:
    async with bus_of("gateway", redis_url) as gateway, client_of(redis_url) as client:
        async with asyncio.TaskGroup() as tasks:
            for number in range(200):
                due = timedelta(seconds=0.2)
                tasks.create_task(gateway.publish(CHAT, to=CHAT_REQUESTS, delay=due, id=f"id-{number}"))
                if number % 20 == 0:
                    await asyncio.sleep(0.001)
                    await client.client_kill_filter(_type="normal", skipme=True)
        async with asyncio.timeout(20):
            while await client.zcard(f"{CHAT_REQUESTS.physical()}:due"):
                await asyncio.sleep(0.02)
        assert await client.xlen(CHAT_REQUESTS.physical()) == 200
        assert not await client.exists(f"{CHAT_REQUESTS.physical()}:parcels")


async def test_lost_stream_gets_its_groups_before_a_timer(redis_url: str) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.message.model)

    async with bus_of("gateway", redis_url) as gateway, client_of(redis_url) as client:
        await gateway.publish(CHAT, to=CHAT_REQUESTS)
        await gateway.publish(CHAT, to=CHAT_REQUESTS, delay=timedelta(seconds=0.2))
        await client.delete(CHAT_REQUESTS.physical())
        async with asyncio.timeout(20):
            while not await client.exists(CHAT_REQUESTS.physical()):
                await asyncio.sleep(0.02)
        async with bus_of("router", redis_url) as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            await eventually(lambda: bool(seen))
        assert seen == ["m"]
