"""What the conformance suite needs from a backend, and the one in memory."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

import pytest

from archive_blobs import Blobs
from archive_bus import Bus, Entry, Lane, Transport
from archive_contracts.streams import Stream
from archive_testkit.memory_broker import Broker
from archive_testkit.memory_bus import MemoryTransport, memory_bus


class Feature(StrEnum):
    """What a backend may or may not offer."""

    REPLIES = "replies"
    JOURNALS = "journals"
    BROADCASTS = "broadcasts"
    ANSWER_LOGS = "answer logs"
    TIMERS = "timers"
    ORDER = "order by key"
    PRIORITIES = "priorities"
    INBOX = "inbox"
    FOREIGN_ENTRIES = "foreign entries"
    """Anybody can write fields of any name and any bytes."""


ALL = frozenset(Feature)


class Backend(Protocol):
    """A message server that buses and bare transports connect to; what one writes all others see."""

    features: frozenset[Feature]

    def bus(self, service: str, *, grace_s: float = 2.0, blobs: Blobs | None = None) -> Bus:
        """Return the bus of a new process of a service."""
        ...

    def transport(self) -> Transport:
        """Return the transport of a new process, not started."""
        ...

    async def add(self, key: str, fields: Mapping[bytes, bytes]) -> None:
        """Add an entry as a foreign publisher would."""
        ...

    async def entries(self, key: str) -> Sequence[Mapping[bytes, bytes]]:
        """Return everything a stream holds, oldest first."""
        ...


class MemoryBackend:
    """The broker in memory."""

    features = ALL

    def __init__(self) -> None:
        self.broker = Broker()

    def bus(self, service: str, *, grace_s: float = 2.0, blobs: Blobs | None = None) -> Bus:
        """Return the bus of a new process of a service."""
        return memory_bus(service, self.broker, grace_s=grace_s, blobs=blobs)

    def transport(self) -> Transport:
        """Return the transport of a new process."""
        return MemoryTransport(self.broker)

    async def add(self, key: str, fields: Mapping[bytes, bytes]) -> None:
        """Add an entry as a foreign publisher would."""
        self.broker.add(key, fields)

    async def entries(self, key: str) -> Sequence[Mapping[bytes, bytes]]:
        """Return everything a stream holds."""
        return [entry.fields for entry in self.broker.entries(key)]


def needs(backend: Backend, feature: Feature) -> None:
    """Skip the test where the backend does not declare a feature."""
    if feature not in backend.features:
        pytest.skip(f"this backend declares no {feature}")


def quick(stream: Stream, *, lease_s: float = 0.6) -> Stream:
    """Return a stream of the map with a lease that a test can wait for."""
    return replace(stream, lease=timedelta(seconds=lease_s))


@asynccontextmanager
async def bare(backend: Backend) -> AsyncGenerator[Transport, None]:
    """Yield a started transport: a process whose every step the test decides."""
    transport = backend.transport()
    await transport.start()
    try:
        yield transport
    finally:
        await transport.stop()


async def take(transport: Transport, lane: Lane, count: int) -> list[Entry]:
    """Read entries into a consumer's hands and stop reading, as if the process ended there."""
    taken: list[Entry] = []
    enough = asyncio.Event()

    async def feed(entries: Sequence[Entry]) -> None:
        taken.extend(entries)
        if len(taken) >= count:
            enough.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        pump = tasks.create_task(transport.pump(lane, feed, prefetch=lambda: count))
        await enough.wait()
        pump.cancel()
    return taken


def lane_of(stream: Stream, group: str, consumer: str) -> Lane:
    """Return the first partition of a stream as a consumer sees it."""
    return Lane(stream=stream, partition="0", group=group, consumer=consumer)
