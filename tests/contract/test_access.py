"""Each service may do on each stream what the map says, on every server version, and nothing else."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from archive_contracts import access
from archive_contracts.access import Flavour
from archive_contracts.streams import REPLIES, SERVICES, STREAMS, Kind, Server, Stream
from archive_testkit.servers import RedisServer, server_binary

PARTITIONS = {Kind.LANE: "small", Kind.JOURNAL: "job-1", Kind.REPLIES: "gateway-1-a", Kind.LOG: "default:a-1"}
FOREIGN = "another"
"""A partition whose name begins with no service."""
BINARIES = {Flavour.VALKEY_9: server_binary(), Flavour.REDIS_7_0: shutil.which("redis-server")}
EXPECTED_ON_INPUT = {"XREADGROUP", "XACK", "XAUTOCLAIM", "XCLAIM", "XPENDING"}


@pytest.fixture(scope="module", params=list(Flavour))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    binary = BINARIES[request.param]
    if binary is None:
        assert not os.environ.get("CI"), "redis-server is missing"
        pytest.skip("redis-server is not on the path")
    folder = tmp_path_factory.mktemp("acl")
    services = (
        access.line(user, access.selectors(user), request.param, passwords=[f"{user}-secret"]) for user in access.USERS
    )
    lines = ["user default on nopass ~* &* +@all", *services]
    lines.append(access.line("ingress-acme", access.publisher_selectors("acme"), request.param, passwords=["acme"]))
    (folder / "users.acl").write_text("\n".join(lines) + "\n")
    running = RedisServer(folder, binary=binary, options=["--aclfile", str(folder / "users.acl")]).start()
    yield running
    running.stop()


def commands(key: str, service: str) -> dict[str, list[str]]:
    return {
        "XADD": ["XADD", key, "*", "a", "1"],
        "XREADGROUP": ["XREADGROUP", "GROUP", service, "c", "STREAMS", key, ">"],
        "XACK": ["XACK", key, service, "1-1"],
        "XAUTOCLAIM": ["XAUTOCLAIM", key, service, "c", "1", "0"],
        "XCLAIM": ["XCLAIM", key, service, "c", "1", "1-1"],
        "XPENDING": ["XPENDING", key, service],
        "XREAD": ["XREAD", "STREAMS", key, "0"],
        "XRANGE": ["XRANGE", key, "-", "+"],
        "XTRIM": ["XTRIM", key, "MAXLEN", "0"],
        "XDEL": ["XDEL", key, "1-1"],
        "XGROUP DESTROY": ["XGROUP", "DESTROY", key, service],
        "XGROUP SETID": ["XGROUP", "SETID", key, service, "0"],
        "DEL": ["DEL", key],
        "SET": ["SET", key, "x"],
        "RENAME": ["RENAME", key, key],
        "EXPIRE": ["EXPIRE", key, "1"],
        "HSET": ["HSET", key, "f", "v"],
    }


def expected(service: str, stream: Stream, partition: str) -> set[str]:
    """What the map gives, said in another way than the rules are written."""
    allowed: set[str] = set()
    if service in stream.producers:
        allowed |= {"XADD"}
        if stream.kind in {Kind.WORK, Kind.LANE}:
            allowed |= {"XTRIM", "XPENDING"}
        if stream.kind is Kind.JOURNAL:
            allowed |= {"XREAD", "XRANGE"}
    if service in stream.consumers:
        allowed |= EXPECTED_ON_INPUT | {"XREAD", "XRANGE"} | ({"XTRIM"} if stream.kind is Kind.INGRESS else set())
    if service in stream.followers and stream is not REPLIES:
        allowed |= {"XREAD", "XRANGE"}
    if stream is REPLIES and partition.startswith(f"{service}-"):
        allowed |= {"XREAD", "XRANGE", "XTRIM"}
    return allowed


def passes(client: Any, user: str, command: Sequence[str]) -> bool:
    reply = client.execute_command("ACL", "DRYRUN", user, *command)
    return reply in {"OK", b"OK"}


@pytest.mark.parametrize("service", SERVICES)
def test_matrix_agrees_with_the_map(server: RedisServer, service: str) -> None:
    with Redis.from_url(server.url) as admin:  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        for stream in STREAMS.values():
            partition = PARTITIONS.get(stream.kind, "0")
            listed = commands(stream.physical(partition), service)
            found = {name for name, command in listed.items() if passes(admin, service, command)}
            assert found == expected(service, stream, partition), stream.name


@pytest.mark.parametrize("service", SERVICES)
def test_only_own_reply_stream_is_readable(server: RedisServer, service: str) -> None:
    with Redis.from_url(server.url) as admin:  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        own, foreign = REPLIES.physical(f"{service}-1-a"), REPLIES.physical(FOREIGN)
        assert passes(admin, service, ["XREAD", "STREAMS", own, "0"])
        assert not passes(admin, service, ["XREAD", "STREAMS", foreign, "0"])


@pytest.mark.parametrize("service", SERVICES)
def test_own_dead_letters_only_grow(server: RedisServer, service: str) -> None:
    keys = [
        (group, f"{stream.physical(PARTITIONS.get(stream.kind, '0'))}:{group}:dead")
        for stream in STREAMS.values()
        for group in stream.consumers
    ]
    with Redis.from_url(server.url) as admin:  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        for group, key in keys:
            assert passes(admin, service, ["XADD", key, "*", "a", "1"]) == (group == service)
            assert not any(passes(admin, service, [name, key, *rest]) for name, *rest in (["DEL"], ["XDEL", "1-1"]))


@pytest.mark.parametrize("user", access.USERS)
def test_nobody_may_harm_the_server(server: RedisServer, user: str) -> None:
    harmful = ("FLUSHALL", "SHUTDOWN", "KEYS *", "CONFIG SET a b", "DEBUG SLEEP 0", "ACL SETUSER x", "SCRIPT FLUSH")
    with Redis.from_url(server.url) as admin:  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        allowed = [command for command in harmful if passes(admin, user, command.split())]
    assert allowed == []


@pytest.mark.parametrize("user", [access.KEDA, access.EXPORTER])
def test_watchers_read_only_numbers(server: RedisServer, user: str) -> None:
    key = STREAMS["chat.requests"].physical()
    with Redis.from_url(server.url) as admin:  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        for command in (["XLEN", key], ["XINFO", "GROUPS", key], ["XPENDING", key, "router"], ["INFO"]):
            assert passes(admin, user, command)
        for command in (["XRANGE", key, "-", "+"], ["XADD", key, "*", "a", "1"], ["GET", "x"]):
            assert not passes(admin, user, command)


def test_unknown_password_is_refused(server: RedisServer) -> None:
    with server.as_user("router", "gateway-secret") as client, pytest.raises(AuthenticationError):
        client.ping()


def test_consumer_cannot_add_by_script(server: RedisServer) -> None:
    key = STREAMS["chat.requests"].physical()
    with server.as_user("router", "router-secret") as client:
        sha = client.script_load("return redis.call('XADD', KEYS[1], '*', 'a', '1')")
        with pytest.raises(ResponseError, match=r"(?i)permission|access"):
            client.evalsha(sha, 1, key)


def test_mark_cannot_overwrite_a_stream(server: RedisServer) -> None:
    with server.as_user("gateway", "gateway-secret") as client:
        assert client.set("{chat.requests:0}:seen:1", "1-1")
        with pytest.raises(NoPermissionError):
            client.set("{chat.requests:0}", "x")


def test_services_keep_their_own_keys(server: RedisServer) -> None:
    with server.as_user("router", "router-secret") as client:
        assert client.hset("router:posteriors", "a", "1") in {0, 1}
        with pytest.raises(NoPermissionError):
            client.hgetall("gateway:{limits:k}")


def test_publisher_adds_to_its_own_stream_only(server: RedisServer) -> None:
    with server.as_user("ingress-acme", "acme") as client:
        assert client.xadd("{ingress.acme:0}", {"type": "document.ingest.v1", "data": "{}"})
        with pytest.raises(NoPermissionError):
            client.xadd("{ingress.default:0}", {"a": "1"})
        with pytest.raises(NoPermissionError):
            client.xlen("{ingress.acme:0}")


@pytest.mark.parametrize("servers", [{Server.BUS}, {Server.STATE}, access.BOTH], ids=["bus", "state", "both"])
@pytest.mark.parametrize("flavour", Flavour)
def test_committed_form_loads_without_credentials(tmp_path: Path, flavour: Flavour, servers: set[Server]) -> None:
    binary = BINARIES[flavour]
    if binary is None:
        pytest.skip("redis-server is not on the path")
    text = access.acl_file(servers, flavour)
    assert "#" not in text
    (tmp_path / "users.acl").write_text(text.replace("user default off", "user default on nopass ~* &* +@all"))
    running = RedisServer(tmp_path, binary=binary, options=["--aclfile", str(tmp_path / "users.acl")]).start()
    running.stop()
