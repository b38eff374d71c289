"""The gateway on its real port, and peers over the bus in the place of the other services."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from archive_bus import Delivery
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_gateway.app import build
from archive_gateway.settings import Settings
from archive_testkit.peers import Peer, listening


@dataclass
class Running:
    """A gateway that listens, and a client for it."""

    url: str
    http: httpx.AsyncClient
    info: Callable[[], Any]
    ready: Any


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(autouse=True)
def patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowded machine may be slower than a client is kept waiting; only tests of just that keep the limit."""
    if request.path.stem != "test_outages":
        for module in ("asking", "platform.documents", "platform.engines", "platform.jobs"):
            monkeypatch.setattr(f"archive_gateway.routes.{module}.PUBLISH_S", 20.0)


@pytest.fixture
def start(places: dict[str, Any]) -> Start:
    """Start a gateway; settings by keyword."""

    @asynccontextmanager
    async def starting(**chosen: Any) -> AsyncGenerator[Running, None]:
        settings: dict[str, Any] = {**places, "grace_s": 5.0, **chosen}
        app = build(Settings(**settings))
        async with listening(app) as (url, client):
            yield Running(url, client, app.info, app.ready)

    return starting


@pytest.fixture
async def gateway(start: Start) -> AsyncIterator[Running]:
    """A gateway with its defaults."""
    async with start() as running:
        yield running


@pytest.fixture
async def closed(start: Start) -> AsyncIterator[Running]:
    """A gateway with the operator's own key."""
    async with start(api_key="root") as running:
        yield running


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
