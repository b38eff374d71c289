"""The operator's verbs on a real bus server."""

# pyright: reportUnknownMemberType=false
# redis-py leaves its keyword arguments without types.

import json
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
from archive_contracts.streams import CONTROL, DOCUMENT_COMMANDS, dead_letters
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


def add_dead(bus: Redis) -> str:
    key = DOCUMENT_COMMANDS.physical()
    fields: dict[Any, Any] = {
        "entry": "1-1",
        "at": "1000",
        "cause.code": "bad",
        "cause.cause": "It is bad.",
        "raw.type": "document.ingest-stored.v1",
        "raw.data": "{}",
    }
    raw = bus.xadd(dead_letters(key, "librarian"), fields)
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


def test_dead_letters_are_listed_and_shown(bus: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    letter = add_dead(bus)
    assert main(["dead", "list"]) == 0
    assert "It is bad." in capsys.readouterr().out
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
