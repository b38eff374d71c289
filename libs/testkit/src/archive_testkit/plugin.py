"""The pytest plugin every test of this repository runs with."""

import os
from collections.abc import Iterator
from importlib import import_module

import pytest
from hypothesis import settings

from archive_testkit import guarantees
from archive_testkit.guarantees import figure, pytest_addoption, pytest_itemcollected
from archive_testkit.servers import RedisServer, server_binary

__all__ = ["figure", "pytest_addoption", "pytest_itemcollected"]

# Machines are slow and shared: how long an example takes says nothing about the code.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")

COVERING = ("contracts", "services")
"""Where the tests lie that `make test` traces."""

pytest.register_assert_rewrite("archive_testkit.conformance")


def pytest_configure(config: pytest.Config) -> None:
    """Add the fixtures whose imports are measured: this module is loaded before coverage begins."""
    guarantees.pytest_configure(config)
    config.pluginmanager.register(import_module("archive_testkit.peers"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests untraced that contracts and domains do not owe their coverage to.

    A tracer costs half as much again of what a test computes, and coverage is demanded of contracts and domains alone.
    """
    for item in items:
        if not any(item.path.is_relative_to(config.rootpath / folder) for folder in COVERING):
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run asynchronous tests on asyncio, with ``TEST_UVLOOP=1`` on the faster loop that services use where it is."""
    return "asyncio", {"use_uvloop": os.environ.get("TEST_UVLOOP") == "1"}


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
    shared_redis.flush()
    return shared_redis.url
