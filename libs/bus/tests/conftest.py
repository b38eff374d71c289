"""The backends that the bus is proved on."""

import shutil
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from archive_blobs import Blobs
from archive_bus import Bus, BusOptions, Transport, connect
from archive_bus._redis import RedisTransport, RedisUrls
from archive_testkit.conformance import Backend, Feature, MemoryBackend
from archive_testkit.servers import RedisServer, server_binary

# Test folders are no packages; bus_peers is a name that no other package's tests use.
sys.path.append(str(Path(__file__).parent))


class RedisBackend:
    """One server in both roles."""

    features = frozenset(Feature)

    def __init__(self, url: str) -> None:
        self._url = url

    def bus(self, service: str, *, grace_s: float = 2.0, blobs: Blobs | None = None) -> Bus:
        return connect(self._url, self._url, BusOptions(service=service, grace_s=grace_s), blobs=blobs)

    def transport(self) -> Transport:
        return RedisTransport(RedisUrls(bus=self._url, state=self._url))

    def client(self) -> Any:
        return Redis.from_url(self._url)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs

    async def add(self, key: str, fields: Mapping[bytes, bytes]) -> None:
        async with self.client() as client:
            await client.xadd(key, dict(fields))

    async def entries(self, key: str) -> Sequence[Mapping[bytes, bytes]]:
        async with self.client() as client:
            return [fields for _, fields in await client.xrange(key)]


def _servers() -> dict[str, str | None]:
    """Return the binary of each backend; the same server under two names is tested once."""
    found: dict[str, str | None] = {"memory": None, "server": server_binary()}
    other = shutil.which("redis-server")
    if other and other != found["server"]:
        found["redis-server"] = other
    return found


@pytest.fixture(scope="session")
def backend_server(request: pytest.FixtureRequest) -> Iterator[RedisServer | None]:
    """The server of a backend, for all tests of this process."""
    binary = _servers()[request.param]
    if binary is None:
        yield None
        return
    server = RedisServer(binary=binary).start()
    yield server
    server.stop()


@pytest.fixture
def backend(backend_server: RedisServer | None) -> Backend:
    """A backend with nothing on it."""
    if backend_server is None:
        return MemoryBackend()
    backend_server.flush()
    return RedisBackend(backend_server.url)


@pytest.fixture
async def client(backend_server: RedisServer) -> AsyncGenerator[Any, None]:
    """A bare client of a server with nothing on it."""
    backend_server.flush()
    async with RedisBackend(backend_server.url).client() as client:
        yield client


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a backend on each of them, and what asks for a bare client on each server."""
    if "backend_server" in metafunc.fixturenames:
        names = [name for name, binary in _servers().items() if binary or "client" not in metafunc.fixturenames]
        metafunc.parametrize("backend_server", names, indirect=True, scope="session")


@pytest.fixture
def state_server() -> Iterator[RedisServer]:
    """A second server, for the state role, that forgets everything when it is killed."""
    server = RedisServer().start()
    yield server
    server.stop()
