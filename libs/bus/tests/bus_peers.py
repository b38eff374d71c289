"""What the fault tests of the bus share: buses, clients, a worker process and things to publish."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import Redis

from archive_bus import Bus, BusOptions, Delivery, Limits, connect
from archive_contracts.chat import ChatCompleted, ChatRequested
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS
from archive_testkit.servers import RedisServer

T = TypeVar("T")
UNLIMITED = Limits()
CHAT = ChatRequested(body="{}", model="m")
STATS = LibraryStats(documents=1, chunks=2, vectors=3, memories=4)
COMPLETED = ChatCompleted(engine="e", pool="p", model="m")
KEPT = replace(CHAT_REQUESTS, retention=timedelta(hours=1))
QUICK = replace(CHAT_REQUESTS, lease=timedelta(seconds=1))


def bus_of(
    service: str, url: str, *, state: str = "", grace_s: float = 2.0, limits: Limits = UNLIMITED, patience_s: float = 30
) -> Bus:
    options = BusOptions(service=service, grace_s=grace_s, limits=limits, patience_s=patience_s)
    return connect(url, state or url, options)


def client_of(url: str) -> Any:
    return Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs


async def owners(url: str, key: str, group: str) -> list[bytes]:
    """Return whose the messages are that are not settled; what anybody may take is nobody's."""
    async with client_of(url) as client:
        pending = await client.xpending_range(key, group, "-", "+", 100)
    return [entry["consumer"] for entry in pending]


async def ready(bus: Bus) -> None:
    """Wait until nothing is wrong with the servers: on a crowded machine the first look comes too late for itself."""
    async with asyncio.timeout(60):
        while wrong := await bus.check():
            assert "does not answer" in wrong
            await asyncio.sleep(0.05)


async def heard(worker: Process, word: str) -> list[str]:
    """Wait for a word of a worker; return what it said before."""
    assert worker.stdout
    before: list[str] = []
    async with asyncio.timeout(30):
        while (line := await worker.stdout.readline()).strip() != word.encode():
            assert line, f"the worker ended before it said {word!r}"
            before.append(line.decode().strip())
    return before


@contextlib.asynccontextmanager
async def worker_on(url: str, *, lease_s: float, app: str = "worker") -> AsyncGenerator[Process, None]:
    script = Path(__file__).parent / "apps" / f"{app}.py"
    worker = await asyncio.create_subprocess_exec(sys.executable, str(script), url, str(lease_s), stdout=PIPE)
    try:
        yield worker
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.communicate()


async def restart(server: RedisServer, *, away_s: float = 0.0) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(away_s)
    await asyncio.to_thread(server.start)


async def publish_output(delivery: Delivery[ChatRequested]) -> None:
    await delivery.publish(COMPLETED, to=CHAT_EVENTS)


async def answer_stats(delivery: Delivery[GetLibraryStats]) -> None:
    await delivery.reply(STATS)
