"""One running system for all end-to-end tests of a kind: processes, or all in one."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from archive_testkit.otlp import OtlpReceiver
from archive_testkit.system import ArchiveSystem


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of one system in one worker, so that a run starts each system once."""
    for item in items:
        if "e2e" in Path(item.fspath).parts:
            kind = "all-in-one" if "all-in-one" in item.nodeid else "processes"
            item.add_marker(pytest.mark.xdist_group(kind))
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def otlp() -> Iterator[OtlpReceiver]:
    """A receiver for the spans of the all-in-one system."""
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveSystem]:
    """The system as separate processes."""
    system = ArchiveSystem(tmp_path_factory.mktemp("processes") / "home").start()
    yield system
    refused = system.refusals()
    system.stop()
    assert refused == [], "a service asked a server for more than the map gives it"


@pytest.fixture(scope="session")
def all_in_one(tmp_path_factory: pytest.TempPathFactory, otlp: OtlpReceiver) -> Iterator[ArchiveSystem]:
    """The system in one process, sending its spans away."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    system = ArchiveSystem(
        tmp_path_factory.mktemp("all-in-one") / "home", options=("--all-in-one",), env=os.environ | env
    ).start()
    yield system
    refused = system.refusals()
    system.stop()
    assert refused == [], "a service asked a server for more than the map gives it"


@pytest.fixture(params=["processes", "all-in-one"])
def system(request: pytest.FixtureRequest) -> ArchiveSystem:
    """Either system."""
    return request.getfixturevalue(str(request.param).replace("-", "_"))


@pytest.fixture
def client(system: ArchiveSystem) -> Iterator[httpx.Client]:
    """An HTTP client of the system's gateway."""
    with httpx.Client(base_url=system.url, timeout=120) as http:
        yield http
