"""The Redis exporter, told what `make manifests` writes, sees every group and asks for nothing that it may not."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from archive_bus import create_streams
from archive_contracts import access
from archive_contracts.deploy.exporter import settings
from archive_contracts.streams import STREAMS, Kind, Server
from archive_testkit.servers import RedisServer, free_port
from archive_testkit.waiting import eventually

BINARY = shutil.which("prometheus-redis-exporter") or shutil.which("redis_exporter")
PASSWORD = "x"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisServer]:
    """A server with the users of the map and all streams."""
    users = [
        access.line(user, access.selectors(user), access.Flavour.VALKEY_9, passwords=[PASSWORD])
        for user in access.USERS
    ]
    (tmp_path / "users.acl").write_text("\n".join(["user default off", *users]) + "\n")
    server = RedisServer(tmp_path, options=["--aclfile", str(tmp_path / "users.acl")]).start()
    yield server
    server.stop()


def as_operator(server: RedisServer) -> str:
    return server.url.replace("redis://", f"redis://operator:{PASSWORD}@")


@pytest.fixture
def figures(guarded: RedisServer) -> Iterator[str]:
    """Where an exporter on that server tells its figures."""
    if BINARY is None:
        pytest.skip("no Redis exporter is installed (Debian's prometheus-redis-exporter)")
    asyncio.run(create_streams(as_operator(guarded), pools=["embed", "small", "large"]))
    place = f"127.0.0.1:{free_port()}"
    server = {"REDIS_ADDR": f"redis://127.0.0.1:{guarded.port}", "REDIS_USER": "exporter", "REDIS_PASSWORD": PASSWORD}
    env = {**os.environ, **settings(), **server, "REDIS_EXPORTER_WEB_LISTEN_ADDRESS": place}
    process = subprocess.Popen([BINARY], env=env, stderr=subprocess.DEVNULL)
    yield f"http://{place}"
    process.kill()
    process.wait(10)


async def test_exporter_sees_every_group(figures: str, guarded: RedisServer) -> None:
    async def listens() -> bool:
        try:
            async with httpx.AsyncClient(timeout=30) as http:
                return (await http.get(f"{figures}/health")).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(listens)
    async with httpx.AsyncClient(timeout=30) as http:
        told = (await http.get(f"{figures}/metrics")).text
    seen = {line for line in told.splitlines() if line.startswith("redis_stream_group_messages_pending{")}
    for stream in STREAMS.values():
        for group in stream.consumers if stream.server is Server.BUS else ():
            key = stream.physical("small" if stream.kind is Kind.LANE else 0)
            assert any(f'group="{group}"' in line and f'stream="{key}"' in line for line in seen), key
    server: Any = Redis.from_url(as_operator(guarded), decode_responses=True)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
    with server as client:
        assert client.acl_log() == []
