"""What a server tells about itself and its users."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from archive_bus import BusUnavailable, WrongPassword, survey, survey_users
from archive_contracts import access
from archive_contracts.streams import SERVICES, Server
from archive_testkit.servers import RedisServer, free_port


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[RedisServer]:
    """A server with the users of the map; the router lacks a rule, the agent may do all, the console has no line."""
    newest = access.Flavour.VALKEY_9
    users = {user: access.line(user, access.selectors(user), newest, passwords=["x"]) for user in SERVICES}
    users["router"] = users["router"].replace("{chat.requests:0}", "{chat.requests:9}")
    users["agent"] = "user agent on #" + "0" * 64 + " ~* &* +@all"
    del users["console"]
    operator = access.line("operator", access.selectors("operator"), newest, passwords=["secret"])
    (tmp_path / "users.acl").write_text("\n".join(["user default off", operator, *users.values()]) + "\n")
    server = RedisServer(tmp_path, durable=True, options=["--aclfile", str(tmp_path / "users.acl")]).start()
    yield server
    server.stop()


def as_operator(server: RedisServer) -> str:
    return server.url.replace("redis://", "redis://operator:secret@")


async def test_durable_server_is_described(redis_server: RedisServer) -> None:
    found = await survey(redis_server.url)
    assert (found.aof, found.fsync, found.policy, found.master) == (True, "always", "noeviction", True)
    assert not found.too_old
    assert abs(found.skew_s) < 5


async def test_operator_may_ask_everything(closed: RedisServer) -> None:
    found = await survey(as_operator(closed))
    assert found.fsync == "always"
    assert found.refused == ()


async def test_wrong_rules_are_found(closed: RedisServer) -> None:
    users = {user.user: user for user in await survey_users(as_operator(closed), SERVICES, set(Server))}
    assert not users["console"].known
    assert any("{chat.requests:0}" in command for command in users["router"].missing)
    assert "FLUSHALL" in users["agent"].beyond
    assert (users["gateway"].missing, users["gateway"].beyond, users["gateway"].enabled) == ((), (), True)


async def test_open_server_has_no_users(redis_url: str) -> None:
    assert await survey_users(redis_url, SERVICES, set(Server)) == []


async def test_wrong_password_is_told(closed: RedisServer) -> None:
    with pytest.raises(WrongPassword):
        await survey(closed.url.replace("redis://", "redis://operator:guessed@"))


async def test_absent_server_is_told() -> None:
    with pytest.raises(BusUnavailable):
        await survey(f"redis://127.0.0.1:{free_port()}/0")
