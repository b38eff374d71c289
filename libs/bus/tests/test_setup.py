"""A fresh server gets its streams, groups and users; a credential changes without an outage."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from bus_peers import client_of
from redis.exceptions import AuthenticationError, NoPermissionError

from archive_bus import SetupRefused, create_streams, create_users
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.sentinels import WatchedServers
from archive_testkit.servers import RedisServer

ADMIN = "user default on >root ~* &* +@all\n"


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that only its administrator can use."""
    (tmp_path / "users.acl").write_text(ADMIN)
    server = RedisServer(tmp_path, options=["--aclfile", str(tmp_path / "users.acl")]).start()
    yield server
    server.stop()


def admin_url(server: RedisServer) -> str:
    return server.url.replace("redis://", "redis://:root@")


async def test_groups_begin_at_the_start(redis_url: str) -> None:
    created = await create_streams(redis_url, pools=["small"])
    assert "{engine.jobs:small} engine" in created
    async with client_of(redis_url) as client:
        groups = await client.xinfo_groups(CHAT_REQUESTS.physical())
        assert [(row["name"], row["last-delivered-id"], row["lag"]) for row in groups] == [(b"router", b"0-0", 0)]


async def test_second_setup_changes_nothing(redis_url: str) -> None:
    assert await create_streams(redis_url)
    assert await create_streams(redis_url) == []


async def test_setup_finds_the_master() -> None:
    servers = WatchedServers()
    await asyncio.to_thread(servers.__enter__)
    try:
        assert await create_streams(servers.url)
        assert await create_users(servers.url, {"router": ["two"]}) == ["router"]
        with servers.master.as_user("router", "two") as router:
            assert router.exists(CHAT_REQUESTS.physical())
    finally:
        await asyncio.to_thread(servers.__exit__, None, None, None)


async def test_wrong_administrator_is_refused(closed: RedisServer) -> None:
    with pytest.raises(SetupRefused):
        await create_users(closed.url.replace("redis://", "redis://:wrong@"), {"router": ["two"]})


async def test_users_get_what_the_map_gives(closed: RedisServer) -> None:
    assert await create_users(admin_url(closed), {"gateway": ["one"], "router": ["two"]}) == ["gateway", "router"]
    with closed.as_user("gateway", "one") as gateway, closed.as_user("router", "two") as router:
        gateway.xgroup_create(CHAT_REQUESTS.physical(), "router", "0", mkstream=True)
        assert gateway.xadd(CHAT_REQUESTS.physical(), {"type": "x"})
        with pytest.raises(NoPermissionError):
            router.xadd(CHAT_REQUESTS.physical(), {"type": "x"})


async def test_credential_changes_without_an_outage(closed: RedisServer) -> None:
    await create_users(admin_url(closed), {"router": ["old"]})
    with closed.as_user("router", "old") as living:
        assert living.ping()
        await create_users(admin_url(closed), {"router": ["old", "new"]})
        assert living.ping()
        with closed.as_user("router", "new") as renewed:
            assert renewed.ping()
            await create_users(admin_url(closed), {"router": ["new"]})
            assert renewed.ping()
    with closed.as_user("router", "old") as late, pytest.raises(AuthenticationError):
        late.ping()


async def test_service_cannot_make_users(closed: RedisServer) -> None:
    await create_users(admin_url(closed), {"router": ["two"]})
    url = closed.url.replace("redis://", "redis://router:two@")
    with pytest.raises(SetupRefused):
        await create_users(url, {"router": ["mine"]})
