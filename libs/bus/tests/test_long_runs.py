"""What takes a minute to prove: ``make guarantees`` runs it."""

import asyncio
import contextlib
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import pytest
from bus_peers import CHAT, KEPT, bus_of, client_of

from archive_bus import Bus, Busy, Limits
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.guarantees import Figure
from archive_testkit.servers import RedisServer

TALLY = Path(__file__).parent / "apps" / "tally.py"
MESSAGES, AT_ONCE = 100_000, 64
EARLY = 20_000
"""Messages that are there before the first worker."""
WORKERS, KILLS, KILL_EVERY_S = 3, 30, 2.0
OUTAGE_S = 30.0


@contextlib.asynccontextmanager
async def tally(url: str, folder: Path, *, takes_s: float = 0.0) -> AsyncGenerator[Process, None]:
    """Run a worker that writes down what it handles."""
    words = (str(TALLY), url, "2", str(folder), str(takes_s))
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=PIPE)
    try:
        assert process.stdout
        assert await asyncio.wait_for(process.stdout.readline(), 120) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def handled(folder: Path) -> list[str]:
    return [line for path in folder.iterdir() for line in path.read_text().splitlines()]


async def publish(bus: Bus, first: int, last: int, *, over_s: float = 0.0) -> None:
    """Publish messages named by their numbers, many at a time, spread over some seconds."""
    numbers = iter(range(first, last))
    pause_s = over_s * AT_ONCE / (last - first)

    async def some() -> None:
        for number in numbers:
            await bus.publish(CHAT, to=CHAT_REQUESTS, id=str(number))
            await asyncio.sleep(pause_s)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(some())


async def settled(url: str) -> None:
    """Wait until the group has nothing unread and nothing pending."""
    async with client_of(url) as client, asyncio.timeout(300):
        while True:
            (group,) = await client.xinfo_groups(CHAT_REQUESTS.physical())
            if not (group["pending"] or group["lag"]):
                return
            await asyncio.sleep(0.2)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.guarantee("G1")
async def test_hundred_thousand_survive_kills(redis_url: str, tmp_path: Path, figure: Figure) -> None:
    async with bus_of("gateway", redis_url) as gateway, asyncio.TaskGroup() as tasks:
        await publish(gateway, 0, EARLY)

        async def lives(number: int) -> None:
            """Be a worker that is killed in its turn, and comes back."""
            for life in range(KILLS // WORKERS + 1):
                async with tally(redis_url, tmp_path):
                    if life < KILLS // WORKERS:
                        await asyncio.sleep(KILL_EVERY_S * (WORKERS if life else number + 1))
                    else:
                        await publishing
                        await settled(redis_url)

        publishing = tasks.create_task(publish(gateway, EARLY, MESSAGES, over_s=KILLS * KILL_EVERY_S))
        for number in range(WORKERS):
            tasks.create_task(lives(number))
    async with client_of(redis_url) as client:
        dead = await client.xlen(f"{CHAT_REQUESTS.physical()}:router:dead")
    done = handled(tmp_path)
    lost = MESSAGES - len(set(done))
    figure("lost", lost)
    figure("of", MESSAGES, "messages")
    figure("kills", KILLS)
    figure("run twice", (len(done) / MESSAGES - 1) * 100, "%")
    assert (lost, dead) == (0, 0)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.guarantee("G6")
async def test_publish_outlives_half_a_minute(redis_server: RedisServer, figure: Figure) -> None:
    async with bus_of("gateway", redis_server.url, patience_s=120) as gateway, asyncio.TaskGroup() as tasks:
        await gateway.publish(CHAT, to=KEPT)
        await asyncio.to_thread(redis_server.kill)
        waiting = [tasks.create_task(gateway.publish(CHAT, to=KEPT, id=f"id-{n}")) for n in range(500)]
        await asyncio.sleep(OUTAGE_S)
        assert not any(task.done() for task in waiting)
        await asyncio.to_thread(redis_server.start)
        await asyncio.gather(*waiting)
        async with client_of(redis_server.url) as client:
            entries = await client.xlen(KEPT.physical())
    figure("survives", OUTAGE_S, "s")
    figure("entries an id", (entries - 1) / 500)
    assert entries == 501


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.guarantee("G9")
async def test_slow_consumer_stays_small(redis_url: str, tmp_path: Path, figure: Figure) -> None:
    refused = 0
    ended = asyncio.Event()

    async def publish_on(gateway: Bus) -> None:
        nonlocal refused
        while not ended.is_set():
            try:
                await gateway.publish(CHAT, to=CHAT_REQUESTS)
            except Busy:
                refused += 1

    sizes: list[tuple[float, float, float]] = []
    async with (
        bus_of("gateway", redis_url, limits=Limits(depth=5000, patience_s=0.2)) as gateway,
        tally(redis_url, tmp_path, takes_s=0.1) as consumer,  # 160 a second
        client_of(redis_url) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(AT_ONCE):
            tasks.create_task(publish_on(gateway))
        while not refused:
            await asyncio.sleep(0.1)
        began = time.monotonic()
        while time.monotonic() < began + 30:
            used = (await client.info("memory"))["used_memory"]
            sizes.append((psutil.Process(consumer.pid).memory_info().rss, psutil.Process().memory_info().rss, used))
            await asyncio.sleep(1)
        ended.set()
    consumer_growth, publisher_growth, server_growth = ((max(s) / s[0] - 1) * 100 for s in zip(*sizes, strict=True))
    figure("consumer grows by", consumer_growth, "%")
    figure("publisher", publisher_growth, "%")
    figure("server", server_growth, "%")
    assert max(consumer_growth, publisher_growth) < 10
