"""Each fault of a deployment is named, with what to do; a sound one passes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archive_bus import AccessSurvey, GroupReport, ServerSurvey, StreamReport, UserSurvey
from archive_cli.__main__ import main
from archive_cli.doctor import machine, servers, streams
from archive_cli.doctor.examine import site_of
from archive_cli.doctor.finding import Finding, Level, ok, warning, worst
from archive_cli.home import Home
from archive_cli.runinfo import ProcessInfo, RunInfo
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS
from archive_testkit.servers import RedisServer, free_port

if TYPE_CHECKING:
    from conftest import Archive

SOUND = ServerSurvey(
    version="9.1",
    too_old=False,
    master=True,
    policy="noeviction",
    used=10_000_000,
    room=1_000_000_000,
    aof=True,
    fsync="always",
    disk_fine=True,
    replicas=0,
    skew_s=0.01,
    refused=(),
)
RUN = RunInfo(
    version="1", pid=1, state="ready", started_at=0.0, home="", url="", bus_url="", state_url="", blobs_url=""
)
QUIET = GroupReport("router", lag=0, pending=0, consumers=1, dead=0, oldest_s=None, seen_s=1.0)


def bad(findings: Any) -> list[Finding]:
    return [finding for finding in findings if finding.level not in {Level.OK, Level.SKIPPED}]


def report(**changes: Any) -> StreamReport:
    group = replace(QUIET, **changes)
    return StreamReport(CHAT_REQUESTS.physical(), "chat.requests", "0", length=1, oldest_s=None, groups=(group,))


def test_sound_server_passes() -> None:
    assert bad(servers.judge_server("bus", SOUND)) == []


@pytest.mark.parametrize(
    ("fault", "level", "said"),
    [
        ({"policy": "allkeys-lru"}, Level.FAILURE, "noeviction"),
        ({"aof": False}, Level.FAILURE, "appendonly"),
        ({"fsync": "everysec"}, Level.WARNING, "always"),
        ({"disk_fine": False}, Level.FAILURE, "volume"),
        ({"used": 900_000_000}, Level.FAILURE, "archive streams"),
        ({"used": 750_000_000}, Level.WARNING, "archive streams"),
        ({"master": False}, Level.FAILURE, "sentinel"),
        ({"too_old": True, "version": "6.2"}, Level.FAILURE, "Valkey"),
        ({"skew_s": -30.0}, Level.FAILURE, "time service"),
        ({"skew_s": 1.0}, Level.WARNING, "time service"),
        ({"refused": ("router: xadd (command)",)}, Level.WARNING, "archive bootstrap"),
    ],
)
def test_server_fault_is_named(fault: dict[str, Any], level: Level, said: str) -> None:
    (finding,) = bad(servers.judge_server("bus", replace(SOUND, **fault)))
    assert finding.level is level
    assert said in finding.next_step


def test_state_server_may_evict() -> None:
    assert bad(servers.judge_server("state", replace(SOUND, policy="volatile-lru", aof=False, used=990_000_000))) == []


def test_full_state_server_must_evict() -> None:
    (finding,) = bad(servers.judge_server("state", replace(SOUND, used=990_000_000)))
    assert finding.level == Level.FAILURE
    assert "volatile-lru" in finding.next_step


@pytest.mark.parametrize(
    ("user", "level"),
    [
        (UserSurvey("router", known=False), Level.FAILURE),
        (UserSurvey("router", known=True, enabled=False), Level.FAILURE),
        (UserSurvey("router", known=True, enabled=True, missing=("XADD x",)), Level.FAILURE),
        (UserSurvey("router", known=True, enabled=True, beyond=("FLUSHALL",)), Level.WARNING),
        (UserSurvey("keda", known=False), Level.WARNING),
        (UserSurvey("exporter", known=True, enabled=False), Level.WARNING),
        (UserSurvey("keda", known=True, enabled=True, missing=("XLEN x",)), Level.FAILURE),
    ],
)
def test_user_fault_is_named(user: UserSurvey, level: Level) -> None:
    (finding,) = bad(servers.judge_access("bus", AccessSurvey(users=(user,))))
    assert finding.level == level
    assert user.user in finding.what
    assert finding.next_step


def test_silence_about_users_is_no_fault() -> None:
    (finding,) = servers.judge_access("bus", AccessSurvey(told=False))
    assert finding.level == Level.SKIPPED
    assert "does not say" in finding.what


def test_open_port_fails_beside_users() -> None:
    fine = UserSurvey("router", known=True, enabled=True)
    finding, _ = servers.judge_access("bus", AccessSurvey(without_name=("FLUSHALL",), users=(fine,)))
    assert finding.level == Level.FAILURE
    assert "FLUSHALL" in finding.what
    assert "default off" in finding.next_step


@pytest.mark.parametrize(
    ("change", "check", "level"),
    [
        ({"lag": 3, "oldest_s": 900.0, "seen_s": None}, "lag", Level.FAILURE),
        ({"lag": 5000, "oldest_s": 10.0}, "lag", Level.WARNING),
        ({"lag": None}, "lag", Level.WARNING),
        ({"dead": 2}, "dead letters", Level.WARNING),
        ({"name": "former", "lag": 3}, "groups", Level.WARNING),
    ],
)
def test_stream_fault_is_named(change: dict[str, Any], check: str, level: Level) -> None:
    (finding,) = bad(streams.judge_streams([report(**change)], [], {}))
    assert (finding.check, finding.level) == (check, level)


@pytest.mark.parametrize(("awake", "connected"), [(0, 0), (1, 1), (2, 0), (0, 2)])
def test_two_owners_are_named(awake: int, connected: int) -> None:
    group = replace(QUIET, name="memory", consumers=3, awake=awake)
    told = StreamReport(CHAT_EVENTS.physical(), "chat.events", "0", length=1, oldest_s=None, groups=(group,))
    found = bad(streams.judge_streams([told], [], {"memory": connected, "engine": 3}))
    faults = [("owners", Level.FAILURE)] * (max(awake, connected) > 1)
    assert [(finding.check, finding.level) for finding in found] == faults
    assert all("replicas=1" in finding.next_step for finding in found)


def test_missing_group_is_named() -> None:
    (finding,) = bad(streams.judge_streams([report()], [(CHAT_REQUESTS.physical(), "new")], {}))
    assert "new" in finding.what
    assert "archive bootstrap" in finding.next_step


def test_disk_and_processes_are_judged() -> None:
    assert machine.judge_disk("/", free=10**8, total=10**12).level is Level.FAILURE
    assert machine.judge_disk("/", free=10**9, total=10**12).level is Level.WARNING
    late = {"name": "memory", "state": "not ready", "problem": "Another process works on mem-0.", "restarts": 0}
    died = {"name": "router", "state": "ready", "problem": "", "restarts": 2}
    found = bad(machine.judge_processes([late, died], version="1", own_version="2"))
    assert [finding.check for finding in found] == ["versions", "processes", "processes"]
    (engine,) = bad(machine.judge_engines([{"pool": "small"}], ["embed", "small"]))
    assert "embed" in engine.what


def test_silent_engine_serves_nothing() -> None:
    silent = {
        "engine": "far",
        "pool": "far",
        "healthy": False,
        "problem": "No connection.",
        "base_url": "http://far/v1",
    }
    well = {"engine": "minilm", "pool": "embed", "healthy": True}
    told, count = machine.judge_engines([silent, well], ["embed"])
    assert (told.level, count.what) == (Level.WARNING, "1 serve embed")
    assert "far (http://far/v1) does not answer: No connection." in told.what
    assert [found.what for found in bad(machine.judge_engines([silent], ["far"]))][-1] == "no engine serves far"


def test_worst_level_counts() -> None:
    assert worst([ok("a", "b"), warning("a", "b", "c")]) is Level.WARNING
    assert worst([]) is Level.OK


def test_absent_server_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ARCHIVE_BUS_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("ARCHIVE_BLOBS_URL", (tmp_path / "file").as_uri())
    monkeypatch.setenv("ARCHIVE_HOME", str(tmp_path / "home"))
    assert main(["doctor", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    failed = [found["check"] for found in told["findings"] if found["level"] == "failure"]
    assert failed == ["bus server", "blobs"]
    assert all(found["next_step"] for found in told["findings"] if found["level"] == "failure")


def test_bare_server_warns(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARCHIVE_BUS_URL", redis_server.url)
    monkeypatch.setenv("ARCHIVE_BLOBS_URL", tmp_path.as_uri())
    monkeypatch.setenv("ARCHIVE_HOME", str(tmp_path / "home"))
    assert main(["bootstrap"]) == 0
    capsys.readouterr()
    assert main(["doctor", "--json", "--pools", "small"]) == 0
    levels = {found["check"]: found["level"] for found in json.loads(capsys.readouterr().out)["findings"]}
    assert (levels["groups"], levels["bus access"], levels["engines"]) == ("ok", "warning", "skipped")


@pytest.mark.parametrize(
    ("asked", "running", "wanted"),
    [("", ("model",), ("embed", "small")), ("", ("router",), ("embed",)), ("large", ("router",), ("large",))],
)
def test_pools_are_those_that_run(
    archive: "Archive", asked: str, running: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    processes = tuple(ProcessInfo(name=name, service=name) for name in running)
    run = replace(RUN, home=str(archive.home), processes=processes)

    class Running(Home):
        @property
        def running(self) -> bool:
            return True

        def read_run(self) -> RunInfo:
            return run

    assert site_of(Running(archive.home), env={}, url="", pools=asked).pools == wanted


def test_nothing_running_is_said(archive: "Archive") -> None:
    (archive.home).mkdir()
    archive.home.chmod(0o755)
    found = archive.run("doctor")
    assert found.returncode == 1
    assert "nothing runs on" in found.stdout
    assert "chmod go-rwx" in found.stdout
