"""The gateway on its real port, and peers over the bus in the place of the other services."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from archive_bus import Bus, BusOptions, Delivery, connect
from archive_contracts.base import Message
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS, Stream
from archive_gateway.app import build
from archive_gateway.settings import Settings

Handlers = dict[type[Message], Callable[[Delivery[Any]], Awaitable[None]]]


@dataclass
class Running:
    """A gateway that listens, and a client for it."""

    url: str
    http: httpx.AsyncClient
    info: Callable[[], Any]
    ready: Any


Start = Callable[..., AbstractAsyncContextManager[Running]]
Peer = Callable[[str, Stream, Handlers], AbstractAsyncContextManager[Bus]]


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Start:
    """Start a gateway; settings by keyword."""

    @asynccontextmanager
    async def starting(**chosen: Any) -> AsyncGenerator[Running, None]:
        settings: dict[str, Any] = {
            "bus_url": redis_url,
            "state_url": redis_url,
            "blobs_url": f"file://{tmp_path}/blobs",
            "port": 0,
            "grace_s": 5.0,
        }
        app = build(Settings(**settings | chosen))
        async with app.lifespan():
            url = str(app.info()["url"])
            async with httpx.AsyncClient(base_url=url, timeout=20) as client:
                yield Running(url, client, app.info, app.ready)

    return starting


@pytest.fixture
async def gateway(start: Start) -> AsyncIterator[Running]:
    """A gateway with its defaults."""
    async with start() as running:
        yield running


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
def bus_as(redis_url: str) -> Callable[[str], AbstractAsyncContextManager[Bus]]:
    """Be another service that only publishes and looks."""
    return lambda service: connect(redis_url, redis_url, BusOptions(service=service, grace_s=0.2))


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait until something is true."""

    async def waiting(true: Callable[[], object], within: float = 5.0) -> None:
        async with asyncio.timeout(within):
            while not true():
                await asyncio.sleep(0.01)

    return waiting


@dataclass
class Router:
    """What the peer in the router's place saw."""

    requests: list[ChatRequested]
    tenants: list[str] = field(default_factory=list[str])


@pytest.fixture
async def router(peer: Peer) -> AsyncIterator[Router]:
    """A router that answers every chat itself: the words of its answer, then the end."""
    seen = Router([])

    async def answer(delivery: Delivery[ChatRequested]) -> None:
        request = delivery.message
        seen.requests.append(request)
        seen.tenants.append(delivery.envelope.tenant)
        for word, engine in (("Hel", "bundled"), ("lo", "")) if request.stream else ():
            body = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
            _ = delivery.emit(ChatDelta(body=f'{body}{{"content":"{word}"}}}}]}}', engine=engine))
        whole = (
            '{"id":"c","object":"chat.completion","created":1,"model":"m","strange":null,"choices":'
            '[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}'
        )
        done = ChatCompleted(engine="bundled", pool="small", model="m", text="Hello", upstream_ms=1.0)
        await delivery.reply(done if request.stream else done.model_copy(update={"body": whole}))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: answer}):
        yield seen
