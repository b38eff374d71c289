"""What an operator gets wrong is named by `archive doctor` on real servers, with what to do."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from archive_bus import create_streams
from archive_cli.__main__ import main
from archive_contracts import access
from archive_testkit.servers import RedisServer

PASSWORD = "x"
NEWEST = access.Flavour.VALKEY_9
Findings = dict[str, tuple[str, str]]
"""By check: what was found and what to do, of failures alone."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server as an operator makes it, with rules of the map."""
    rules = tmp_path / "users.acl"
    lines = [access.line(user, access.selectors(user), NEWEST, passwords=[PASSWORD]) for user in access.USERS]
    rules.write_text("\n".join(["user default off", f"user root on >{PASSWORD} ~* &* +@all", *lines]) + "\n")
    server = RedisServer(tmp_path / "data", durable=True, options=["--aclfile", str(rules)]).start()
    yield server
    server.stop()


@pytest.fixture
def prepared(server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    """The same, with streams, and variables that lead `archive doctor` to it."""
    asyncio.run(create_streams(as_operator(server, PASSWORD), pools=["embed", "small"]))
    (tmp_path / "blobs").mkdir()
    monkeypatch.setenv("ARCHIVE_BUS_URL", as_operator(server, PASSWORD))
    monkeypatch.setenv("ARCHIVE_BLOBS_URL", (tmp_path / "blobs").as_uri())
    monkeypatch.setenv("ARCHIVE_HOME", str(tmp_path / "home"))
    for name in ("ARCHIVE_STATE_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    return server


def client(server: RedisServer, user: str = "root", **more: Any) -> Any:
    return Redis(port=server.port, username=user, password=PASSWORD, **more)


def as_operator(server: RedisServer, password: str) -> str:
    return server.url.replace("redis://", f"redis://operator:{password}@")


def examined(capsys: pytest.CaptureFixture[str]) -> Findings:
    """Run the command and return its failures; it exits with 1 exactly when there are some."""
    capsys.readouterr()
    code = main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)["findings"]
    failed = {found["check"]: (found["what"], found["next_step"]) for found in told if found["level"] == "failure"}
    assert code == bool(failed)
    assert all(what and todo for what, todo in failed.values())
    return failed


def test_sound_deployment_passes(prepared: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepared.pid
    assert examined(capsys) == {}


def test_wrong_password_is_named(
    prepared: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARCHIVE_BUS_URL", as_operator(prepared, "wrong"))
    failed = examined(capsys)
    assert "password" in failed["bus server"][0]
    assert "ARCHIVE_BUS_URL" in failed["bus server"][1]


def test_missing_rule_is_named(prepared: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    with client(prepared) as admin:
        admin.execute_command("ACL", "SETUSER", "router", "clearselectors")
    what, todo = examined(capsys)["bus access"]
    assert "router may not: XREADGROUP" in what
    assert "archive bootstrap --passwords" in todo


@pytest.mark.parametrize(
    ("user", "lost", "told"),
    [("keda", "-info", "INFO"), ("keda", "clearselectors", "XLEN"), ("exporter", "clearselectors", "XLEN")],
)
def test_blind_watcher_is_named(
    prepared: RedisServer, capsys: pytest.CaptureFixture[str], user: str, lost: str, told: str
) -> None:
    with client(prepared) as admin:
        admin.execute_command("ACL", "SETUSER", user, lost)
    what, todo = examined(capsys)["bus access"]
    assert f"{user} may not: {told}" in what
    assert "archive bootstrap --passwords" in todo


def test_open_port_is_named(prepared: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    with client(prepared) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "on", "nopass", "~*", "&*", "+@all")
    what, todo = examined(capsys)["bus access"]
    assert "needs no password" in what
    assert "default off" in todo


def test_evicting_server_is_named(prepared: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    with client(prepared) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
    what, todo = examined(capsys)["bus settings"]
    assert "allkeys-lru" in what
    assert "noeviction" in todo


def test_unreachable_store_is_named(
    prepared: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ARCHIVE_BLOBS_URL", (tmp_path / "file").as_uri())
    assert prepared.pid
    assert examined(capsys).keys() == {"blobs"}


def test_full_volume_is_named(prepared: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volume = tmp_path / "blobs"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(volume)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can make a volume that is soon full")
    try:
        with pytest.raises(OSError, match="No space"):
            (volume / "all").write_bytes(b"x" * 2**20)
        failed = examined(capsys)
    finally:
        subprocess.run(["umount", str(volume)], check=True)
    assert prepared.pid
    assert "0.0 of 0.0 GB free" in failed["disk"][0]
    assert "No space" in failed["blobs"][0]


def test_two_owners_are_named(prepared: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    owners = [client(prepared, "memory", client_name=f"memory@memory-{number}:1") for number in range(2)]
    try:
        for owner in owners:
            assert owner.ping()
        what, todo = examined(capsys)["owners"]
    finally:
        for owner in owners:
            owner.close()
    assert "2 processes own memory's partition" in what
    assert "--replicas=1" in todo
