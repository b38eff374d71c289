"""What tests of a service with an HTTP door have in common: where it stands, and who is around it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from archive_bus import Bus, BusOptions, Delivery, connect
from archive_contracts.base import Message
from archive_contracts.streams import Stream
from archive_testkit.waiting import WITHIN_S

Handlers = dict[type[Message], Callable[[Delivery[Any]], Awaitable[None]]]
Peer = Callable[[str, Stream, Handlers], AbstractAsyncContextManager[Bus]]
BusAs = Callable[[str], AbstractAsyncContextManager[Bus]]


class Door(Protocol):
    """A service that listens; the part of ``archive_telemetry.App`` that is needed here."""

    @property
    def lifespan(self) -> Callable[[], AbstractAsyncContextManager[None]]:
        """Runs it."""
        ...

    @property
    def info(self) -> Callable[[], Mapping[str, object]]:
        """Tells its address as ``url``."""
        ...


@asynccontextmanager
async def listening(app: Door) -> AsyncGenerator[tuple[str, httpx.AsyncClient], None]:
    """Run a service; yields its address and a client for it."""
    async with app.lifespan():
        url = str(app.info()["url"])
        async with httpx.AsyncClient(base_url=url, timeout=WITHIN_S) as client:
            yield url, client


@pytest.fixture
def places(redis_url: str, tmp_path: Path) -> dict[str, Any]:
    """The settings that say where a service finds the others; the port is a free one."""
    return {"bus_url": redis_url, "state_url": redis_url, "blobs_url": f"file://{tmp_path}/blobs", "port": 0}


@pytest.fixture
def peer(redis_url: str) -> Peer:
    """Be another service: handle its messages on one stream."""

    @asynccontextmanager
    async def being(service: str, stream: Stream, handlers: Handlers) -> AsyncGenerator[Bus, None]:
        async with connect(redis_url, redis_url, BusOptions(service=service, grace_s=0.2)) as bus:
            bus.subscribe(stream, handlers)
            yield bus

    return being


@pytest.fixture
def bus_as(redis_url: str) -> BusAs:
    """Be another service that only publishes and looks."""
    return lambda service: connect(redis_url, redis_url, BusOptions(service=service, grace_s=0.2))
