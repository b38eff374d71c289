"""Servers with the users of the map copy each other, and sentinels replace the one that takes writes."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis
from redis.exceptions import RedisError

from archive_bus import open_client
from archive_cli.__main__ import main
from archive_cli.watched import Place
from archive_testkit.servers import free_port, server_binary

HOST, PATIENCE_S = "127.0.0.1", 90.0


class Watched:
    """Three servers and three sentinels, each started with the settings that the command writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers = [free_port() for _ in range(3)]
        self.sentinels = [free_port() for _ in range(3)]
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        secrets = folder / "secrets"
        assert main(["secrets", "--out", str(secrets)]) == 0
        self.passwords = secrets / "passwords"
        acl = ["acl", "--server", "bus", "--passwords", str(self.passwords), "--out", str(folder / "users.acl")]
        assert main(acl) == 0

    def url(self, user: str) -> str:
        places = ",".join(f"{HOST}:{port}" for port in self.sentinels)
        return f"sentinel://{user}:{(self.passwords / user).read_text().strip()}@{places}/archive"

    def start(self, role: str, port: int) -> None:
        home = self.folder / str(port)
        home.mkdir(exist_ok=True)
        (home / "base").write_text(f"bind {HOST}\ndir {home}\naclfile {self.folder}/users.acl\nappendonly yes\n")
        words = ["redis-conf", role, "--own", f"{HOST}:{port}", "--first", f"{HOST}:{self.servers[0]}"]
        words += ["--sentinels", *(f"{HOST}:{each}" for each in self.sentinels), "--passwords", str(self.passwords)]
        words += ["--base", str(home / "base"), "--down-ms", "1000", "--out", str(home / "conf")]
        assert main(words) == 0
        mode = ["--sentinel"] if role == "sentinel" else []
        with (home / "log").open("ab") as log:
            self.running[port] = subprocess.Popen([server_binary(), str(home / "conf"), *mode], stdout=log)

    def asked(self, port: int, *words: str) -> Any:
        with Redis(port=port, socket_timeout=10, decode_responses=True) as client:
            return cast("Any", client.execute_command(*words))  # pyright: ignore[reportUnknownMemberType] - untyped

    def master(self) -> set[int]:
        """Return which master the sentinels know, each of them."""
        told = [self.asked(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "archive") for port in self.sentinels]
        return {int(place[1]) for place in told}

    def replicas(self) -> list[int]:
        """Return how many replicas each sentinel sees at work."""
        told = [self.asked(port, "SENTINEL", "REPLICAS", "archive") for port in self.sentinels]
        return [sum(row["master-link-status"] == "ok" for row in rows) for rows in told]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    found = Watched(tmp_path)
    try:
        for role, ports in (("server", found.servers), ("sentinel", found.sentinels)):
            for port in ports:
                found.start(role, port)
        yield found
    finally:
        for process in found.running.values():
            process.kill()
            process.wait(30)


def wait_for(what: str, true: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            if true():
                return
        except (RedisError, OSError):
            pass
        assert time.monotonic() < until, what
        time.sleep(0.1)


async def count(watched: Watched) -> int:
    """Add an entry as the gateway does; return how many there are."""
    client = open_client(watched.url("gateway"))
    try:
        await client.xadd("{chat.requests:0}", {"type": "t"})
        return int(await client.xlen("{chat.requests:0}"))
    finally:
        await client.aclose()


def test_sentinels_replace_a_lost_master(watched: Watched) -> None:
    wait_for("both copy the first", lambda: watched.replicas() == [2, 2, 2])
    assert asyncio.run(count(watched)) == 1
    lost = watched.servers[0]
    wait_for("the entry is copied", lambda: _offsets_agree(watched))
    watched.running[lost].kill()
    wait_for("another is the master", lambda: len(watched.master()) == 1 and lost not in watched.master())
    wait_for("writes are taken", lambda: _is_master(watched, next(iter(watched.master()))))
    assert asyncio.run(count(watched)) == 2
    watched.running[lost].wait(30)
    watched.start("server", lost)
    assert "replicaof" in (watched.folder / str(lost) / "conf").read_text()
    wait_for("the lost one copies the new master", lambda: watched.replicas() == [2, 2, 2])


def _info(watched: Watched, port: int) -> dict[str, Any]:
    password = (watched.passwords / "operator").read_text().strip()
    with Redis(port=port, username="operator", password=password, socket_timeout=10) as client:
        return client.info("replication")  # pyright: ignore[reportReturnType, reportUnknownMemberType, reportUnknownVariableType] - untyped


def _is_master(watched: Watched, port: int) -> bool:
    return _info(watched, port)["role"] == "master"


def _offsets_agree(watched: Watched) -> bool:
    first, *others = (_info(watched, port) for port in watched.servers)
    return all(other["slave_repl_offset"] >= first["master_repl_offset"] for other in others)


def test_sentinel_keeps_what_it_learnt(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    wait_for("sentinels have written", lambda: watched.replicas() == [2, 2, 2])
    conf = watched.folder / str(watched.sentinels[0]) / "conf"
    port, learnt = watched.sentinels[0], "known-replica" in conf.read_text()
    watched.running[port].terminate()
    watched.running[port].wait(30)
    watched.start("sentinel", port)
    assert learnt
    assert "as the sentinel wrote it" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", ":1", "host:x"])
def test_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no host|invalid literal"):
        Place.of(text, port=1)
