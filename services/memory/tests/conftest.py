"""A store in a temporary folder, memory on a real bus, and a place to import samples and peers from."""

import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

# Test folders are no packages; memory_peers and memory_samples are names that no other service's tests use.
sys.path.append(str(Path(__file__).parent))

from memory_peers import Client, Engine, Start

from archive_bus import Bus
from archive_contracts.streams import DOCUMENT_CHUNKS
from archive_memory import app as wiring
from archive_memory.adapters.store import Store
from archive_memory.handlers import documents, embedding
from archive_memory.handlers import turns as turning
from archive_memory.settings import Settings
from archive_telemetry import App
from archive_testkit.peers import BusAs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mem-0.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store(path) as opened:
        yield opened


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def lane(bus_as: BusAs) -> AsyncIterator[Bus]:
    """The bus of an engine that nobody has put on its lane yet."""
    async with bus_as("engine") as bus:
        yield bus


@pytest.fixture
async def client(bus_as: BusAs, lane: Bus) -> AsyncIterator[Client]:
    async with bus_as("gateway") as gateway, bus_as("librarian") as librarian:
        yield Client(gateway, librarian, lane)


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> Callable[..., App]:
    def build(patience_s: float = 600.0, blob_grace_s: float = 60.0) -> App:
        urls = {"bus_url": redis_url, "state_url": redis_url, "blobs_url": f"file://{tmp_path}/blobs"}
        return wiring.build(
            Settings(  # pyright: ignore[reportCallIssue]
                **urls,  # pyright: ignore[reportArgumentType]
                dir=tmp_path / "memory",
                embed_patience_s=patience_s,
                blob_grace_s=blob_grace_s,
                grace_s=1.0,
            )
        )

    return build


@pytest.fixture
async def memory(app: Start) -> AsyncIterator[App]:
    running = app()
    async with running.lifespan():
        yield running


@pytest.fixture
def served(engine: Engine, lane: Bus) -> Engine:
    """An engine on its lane."""
    engine.serve(lane)
    return engine


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent engine is noticed soon."""
    monkeypatch.setattr(embedding, "QUERY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(embedding, "TEXTS_TIMEOUT_S", 0.2)
    monkeypatch.setattr(embedding, "TURNS_TIMEOUT_S", 0.2)
    monkeypatch.setattr(turning, "PAUSE_S", 0.2)
    monkeypatch.setattr(embedding, "PAUSE_S", 0.02)


@pytest.fixture
def single_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt is the last."""
    once = replace(DOCUMENT_CHUNKS, attempts=1)
    monkeypatch.setattr(wiring, "DOCUMENT_CHUNKS", once)
    monkeypatch.setattr(documents, "DOCUMENT_CHUNKS", once)
