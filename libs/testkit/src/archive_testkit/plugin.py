"""The pytest plugin every test of this repository runs with."""

import socket
from collections.abc import Iterator

import pytest

from archive_testkit.servers import RedisServer, server_binary


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio, the loop the services use."""
    return "asyncio"


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """A server for tests that neither stop it nor look at what is not theirs."""
    server = RedisServer().start()
    yield server
    server.stop()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A durable server of the test's own, to be killed and started at will."""
    server = RedisServer(durable=True).start()
    yield server
    server.stop()


def pytest_report_header() -> str:
    """Say which server the tests run against."""
    return f"redis backend: {server_binary()}"


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """The address of the shared server, emptied for this test."""
    with socket.create_connection(("127.0.0.1", shared_redis.port), timeout=5) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        connection.recv(16)
    return shared_redis.url
