"""What a server tells about itself and its users."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from archive_bus import (
    BusOptions,
    BusUnavailable,
    Delivery,
    WrongPassword,
    connect,
    survey,
    survey_processes,
    survey_users,
)
from archive_contracts import access
from archive_contracts.chat import ChatCompleted
from archive_contracts.streams import CHAT_EVENTS, SERVICES, Server
from archive_testkit.servers import RedisServer, free_port, server_binary
from archive_testkit.waiting import eventually


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[RedisServer]:
    """A server with the users of the map; some have older rules, the agent may do all, the console has no line."""
    newest = access.Flavour.VALKEY_9
    users = {user: access.line(user, access.selectors(user), newest, passwords=["x"]) for user in SERVICES}
    users["router"] = users["router"].replace("{chat.requests:0}", "{chat.requests:9}")
    users["librarian"] = users["librarian"].replace(":librarian:fence", ":librarian:mark")
    users["memory"] = users["memory"].replace("+evalsha", "+eval")
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
    found = await survey_users(as_operator(closed), SERVICES, set(Server))
    users = {user.user: user for user in found.users}
    assert (found.told, found.without_name) == (True, ())
    assert not users["console"].known
    assert any("{chat.requests:0}" in command for command in users["router"].missing)
    assert "FLUSHALL" in users["agent"].beyond
    assert any(command.endswith(":librarian:fence") for command in users["librarian"].missing)
    assert any(command.startswith("EVALSHA") for command in users["memory"].missing)
    assert (users["gateway"].missing, users["gateway"].beyond, users["gateway"].enabled) == ((), (), True)


@pytest.mark.parametrize("flavour", list(access.Flavour))
async def test_those_who_watch_have_the_rights_of_the_map(tmp_path: Path, flavour: access.Flavour) -> None:
    """Each role alone as well as both: a state server gives them less."""
    binary = shutil.which("redis-server") if flavour is access.Flavour.REDIS_7_0 else server_binary()
    if binary is None:
        pytest.skip("redis-server is not on the path")
    for number, roles in enumerate(({Server.BUS}, {Server.STATE}, set(Server))):
        users = (*access.WATCHERS, "operator")
        lines = [access.line(user, access.selectors(user, roles), flavour, passwords=["secret"]) for user in users]
        file = tmp_path / f"users-{number}.acl"
        file.write_text("\n".join(["user default off", *lines]) + "\n")
        server = RedisServer(tmp_path / str(number), binary=binary, options=["--aclfile", str(file)]).start()
        try:
            found = (await survey_users(as_operator(server), access.WATCHERS, roles)).users
        finally:
            server.stop()
        assert [(user.user, user.enabled, user.missing, user.beyond) for user in found] == [
            ("keda", True, (), ()),
            ("exporter", True, (), ()),
        ]


async def test_open_server_has_no_users(redis_url: str) -> None:
    found = await survey_users(redis_url, SERVICES, set(Server))
    assert (found.told, found.users) == (True, ())
    assert "FLUSHALL" in found.without_name


async def test_barred_question_is_told(closed: RedisServer) -> None:
    router = closed.url.replace("redis://", "redis://router:x@")
    assert not (await survey_users(router, SERVICES, set(Server))).told


async def test_wrong_password_is_told(closed: RedisServer) -> None:
    with pytest.raises(WrongPassword):
        await survey(closed.url.replace("redis://", "redis://operator:guessed@"))


@pytest.mark.parametrize("binary", sorted({server_binary(), shutil.which("redis-server") or server_binary()}))
async def test_idle_processes_are_counted(binary: str) -> None:
    """Redis 7.0 says of a consumer that asks in vain that it is idle: it is seen by its connections."""
    server = RedisServer(binary=binary).start()
    other: Any = Redis.from_url(server.url, client_name="memory@elsewhere:1")  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
    try:
        async with connect(server.url, server.url, BusOptions(service="memory", grace_s=0.1)) as memory, other:
            memory.subscribe(CHAT_EVENTS, {ChatCompleted: handle})

            async def both() -> bool:
                await other.ping()
                return await survey_processes(server.url) == {"memory": 2}

            async def alone() -> bool:
                return await survey_processes(server.url) == {"memory": 1}

            await eventually(both)
            await eventually(alone)
            assert (await survey_processes(server.url)).keys() == {"memory"}
    finally:
        server.stop()


async def handle(delivery: Delivery[ChatCompleted]) -> None:
    """Do nothing: there is no message."""


async def test_absent_server_is_told() -> None:
    with pytest.raises(BusUnavailable):
        await survey(f"redis://127.0.0.1:{free_port()}/0")
