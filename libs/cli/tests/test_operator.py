"""The operator's verbs on a real bus server."""

# pyright: reportUnknownMemberType=false
# redis-py leaves its keyword arguments without types.

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from archive_cli.__main__ import main
from archive_cli.commands.bus import message_line
from archive_cli.errors import CliError, UsageError
from archive_cli.home import Home
from archive_cli.operator import follow_stream
from archive_cli.runinfo import RunInfo
from archive_contracts.streams import CONTROL, DOCUMENT_COMMANDS, ENGINE_JOBS, dead_letters
from archive_testkit.servers import RedisServer


@pytest.fixture
def bus(redis_server: RedisServer, home: Home, monkeypatch: pytest.MonkeyPatch) -> Redis:
    """A server of the test's own, in the run file of a data folder that counts as running."""
    monkeypatch.setattr(Home, "running", True)
    home.write_run(info(redis_server.url, home.path))
    monkeypatch.setenv("ARCHIVE_HOME", str(home.path))
    return Redis.from_url(redis_server.url)


def info(url: str, home: Path) -> RunInfo:
    return RunInfo(
        version="1",
        pid=1,
        state="ready",
        started_at=0.0,
        home=str(home),
        url="http://127.0.0.1:1",
        bus_url=url,
        state_url=url,
        blobs_url="",
    )


def add_dead(bus: Redis, *, code: str = "bad", group: str = "librarian") -> str:
    key = DOCUMENT_COMMANDS.physical()
    fields: dict[Any, Any] = {
        "entry": "1-1",
        "at": "1000",
        "cause.code": code,
        "cause.attempts": "3",
        "cause.cause": "It is bad.",
        "raw.type": "document.ingest-stored.v1",
        "raw.data": "{}",
    }
    raw = bus.xadd(dead_letters(key, group), fields)
    return str(raw.decode() if isinstance(raw, bytes) else raw)


def test_streams_show_lag_and_pending(bus: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    key = DOCUMENT_COMMANDS.physical()
    bus.xgroup_create(key, "librarian", id="0", mkstream=True)
    for _ in range(3):
        bus.xadd(key, {"type": "x", "data": "{}"})
    bus.xreadgroup("librarian", "me", {key: ">"}, count=1)
    assert main(["streams", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["streams"]
    assert (row["stream"], row["group"], row["lag"], row["pending"]) == ("documents.commands", "librarian", 2, 1)


def test_streams_show_ages_and_consumers(bus: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    key = DOCUMENT_COMMANDS.physical()
    for group in ("librarian", "memory"):
        bus.xgroup_create(key, group, id="0", mkstream=True)
    bus.xadd(key, {"type": "x", "data": "{}"}, id=f"{int(time.time() - 7200) * 1000}-0")
    bus.xreadgroup("librarian", "me", {key: ">"}, count=1)
    assert main(["streams", "--json"]) == 0
    librarian, memory = json.loads(capsys.readouterr().out)["streams"]
    assert (librarian["consumers"], memory["consumers"], memory["seen_s"]) == (1, 0, None)
    assert all(7195 < row[age] < 7300 for row in (librarian, memory) for age in ("oldest_s", "unsettled_s"))
    assert (librarian["stale"], memory["stale"]) == (False, True)
    assert main(["streams"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-2:] == ["2h", "2h"]
    assert lines[2].split()[-3:] == ["stale", "2h", "2h"]


def test_lag_the_server_cannot_tell_is_unknown(bus: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    key = DOCUMENT_COMMANDS.physical()
    ids = [str(bus.xadd(key, {"type": "x"}), "ascii") for _ in range(4)]  # pyright: ignore - bytes, untyped
    bus.xgroup_create(key, "librarian", id=ids[1])
    bus.xdel(key, ids[2])
    assert main(["streams"]) == 0
    assert "unknown" in capsys.readouterr().out


def test_dead_letters_are_filtered(bus: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = add_dead(bus, code="expired", group="memory")
    add_dead(bus)
    for words in (
        ["--reason", "expired"],
        ["--group", "memory"],
        ["--stream", "documents.commands:0", "--group", "memory"],
    ):
        assert main(["dead", "list", "--json", *words]) == 0
        (row,) = json.loads(capsys.readouterr().out)["dead"]
        assert (row["id"], row["code"], row["attempts"]) == (wanted, "expired", 3)
    assert main(["dead", "drop", "--all", "--reason", "expired"]) == 0
    assert bus.xlen(dead_letters(DOCUMENT_COMMANDS.physical(), "librarian")) == 1


def test_partition_is_chosen_before_the_limit(bus: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    for partition, at in (("small", "1000"), ("large", "2000")):
        bus.xadd(dead_letters(ENGINE_JOBS.physical(partition), "engine"), {"at": at, "cause.code": partition})
    assert main(["dead", "list", "--stream", "engine.jobs:small", "--limit", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["dead"]
    assert row["code"] == "small"


def test_same_id_is_told_apart_by_its_group(bus: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    key = DOCUMENT_COMMANDS.physical()
    for group in ("librarian", "memory"):
        bus.xadd(dead_letters(key, group), {"raw.type": "x"}, id="7-0")
    assert main(["dead", "drop", "7-0"]) == 1
    assert "7-0@documents.commands:0:memory" in capsys.readouterr().err
    assert main(["dead", "drop", "7-0@documents.commands:0:memory"]) == 0
    assert (bus.xlen(dead_letters(key, "librarian")), bus.xlen(dead_letters(key, "memory"))) == (1, 0)


def test_group_is_dropped_when_told_so(bus: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    key = DOCUMENT_COMMANDS.physical()
    for group in ("librarian", "stale"):
        bus.xgroup_create(key, group, id="0", mkstream=True)
    bus.xadd(key, {"type": "x", "data": "{}"})
    assert main(["groups", "drop", "documents.commands", "stale"]) == 2
    assert main(["groups", "drop", "documents.commands", "nobody", "--yes"]) == 2
    capsys.readouterr()
    assert main(["groups", "drop", "documents.commands", "stale", "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["dropped"]
    assert (told["stream"], told["group"], told["lag"]) == ("documents.commands", "stale", 1)
    assert [group["name"] for group in bus.xinfo_groups(key)] == [b"librarian"]  # pyright: ignore - untyped


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("\n", 1, 1)])
def test_group_drop_asks_first(bus: Redis, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int) -> None:
    key = DOCUMENT_COMMANDS.physical()
    bus.xgroup_create(key, "librarian", id="0", mkstream=True)
    person = io.StringIO(answer)
    monkeypatch.setattr(person, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", person)
    assert main(["groups", "drop", "documents.commands", "librarian"]) == code
    assert len(bus.xinfo_groups(key)) == left  # pyright: ignore - untyped


def test_dead_letters_are_listed_and_shown(bus: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    letter = add_dead(bus)
    assert main(["dead", "list"]) == 0
    listed = capsys.readouterr().out
    assert "It is bad." in listed
    assert " documents.commands " in listed
    assert main(["dead", "show", letter, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fields"]["data"] == "{}"


def test_replay_puts_the_message_back(bus: Redis) -> None:
    letter = add_dead(bus)
    assert main(["dead", "replay", letter]) == 0
    assert bus.xlen(DOCUMENT_COMMANDS.physical()) == 1
    assert main(["dead", "replay", letter]) == 1


def test_drop_all_keeps_other_streams(bus: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    add_dead(bus)
    assert main(["dead", "drop", "--all", "--stream", "chat.requests", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dropped": []}
    assert main(["dead", "drop", "--all"]) == 0
    assert bus.xlen(dead_letters(DOCUMENT_COMMANDS.physical(), "librarian")) == 0


@pytest.mark.parametrize("words", [["dead", "drop"], ["dead", "drop", "1-1", "--all"], ["tail", "nothing"]])
def test_vague_orders_are_refused(bus: Redis, words: list[str]) -> None:
    assert bus.ping()
    assert main(words) == 2


def test_journal_needs_its_part(bus: Redis, home: Home) -> None:
    assert bus.ping()
    run = home.read_run()
    assert run is not None
    with pytest.raises(UsageError, match="one stream for each part"):
        follow_stream(run, "jobs.journal", history=True, seen=print_nothing)


def test_tail_decodes_until_the_server_goes(bus: Redis, home: Home, redis_server: RedisServer) -> None:
    bus.xadd(CONTROL.physical(), {"type": "cancel.requested.v1", "data": '{"target":"x"}', "source": "gateway"})
    seen: list[dict[str, object]] = []
    run = home.read_run()
    assert run is not None

    def keep(entry: dict[str, object]) -> None:
        seen.append(entry)
        redis_server.kill()

    with pytest.raises(CliError):
        follow_stream(run, "control", history=True, seen=keep)
    assert "cancel.requested.v1" in message_line(seen[0])
    assert '{"target":"x"}' in message_line(seen[0])


def print_nothing(entry: dict[str, object]) -> None:
    """Take an entry that does not come."""
    raise AssertionError(entry)
