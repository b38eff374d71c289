"""An operator opens a door; a foreign program with any Redis client publishes by it, and by it alone."""

# pyright: reportUnknownMemberType=false
# redis-py leaves its keyword arguments without types.

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from archive_testkit.system import ArchiveSystem

WAIT_S = 60.0


@pytest.fixture
def door(processes: ArchiveSystem) -> Iterator[dict[str, Any]]:
    """An open door of the tenant acme, closed again at the end."""
    yield json.loads(processes.command("ingress", "create", "acme", "--tenant", "acme", "--json"))
    processes.command("ingress", "remove", "acme", check=False)


def client_of(system: ArchiveSystem, door: dict[str, Any]) -> Any:
    place = urlsplit(str(system.run_info["bus_url"]))
    return Redis(port=place.port or 0, username=door["user"], password=door["password"])


def jobs(system: ArchiveSystem, filename: str) -> list[dict[str, str]]:
    """Return the first entries of journals of jobs about a file."""
    with Redis.from_url(str(system.run_info["bus_url"]), decode_responses=True) as client:
        keys: list[str] = [str(key) for key in client.scan_iter("{jobs.journal:*}", count=1000)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        firsts: list[Any] = [client.xrange(key, count=1) for key in keys]
    entries: list[dict[str, str]] = [rows[0][1] for rows in firsts if rows]
    return [entry for entry in entries if json.loads(entry["data"]).get("filename") == filename]


def wait_for_job(system: ArchiveSystem, filename: str) -> dict[str, str]:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        if found := jobs(system, filename):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(f"nothing became of {filename}")


def test_publisher_is_heard_in_its_tenant(processes: ArchiveSystem, door: dict[str, Any]) -> None:
    data = json.dumps({"text": "The ferryman is called Ilse Brandt. " * 3, "filename": "ferry.txt"})
    with client_of(processes, door) as client:
        client.xadd(door["stream"], {"type": "document.ingest.v1", "data": data, "tenant": "default"})
        with pytest.raises(NoPermissionError):
            client.xadd("{ingress.default:0}", {"type": "document.ingest.v1", "data": data})
    assert wait_for_job(processes, "ferry.txt")["tenant"] == "acme"
    assert "ingress.acme" in processes.command("streams")


def test_closed_door_is_closed(processes: ArchiveSystem, door: dict[str, Any]) -> None:
    assert [one["name"] for one in json.loads(processes.command("ingress", "list", "--json"))["ingresses"]] == ["acme"]
    processes.command("ingress", "remove", "acme")
    with client_of(processes, door) as client, pytest.raises(AuthenticationError):
        client.ping()
    assert "Only ingress.default" in processes.command("ingress", "list")
