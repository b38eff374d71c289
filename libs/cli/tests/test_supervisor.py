import io
import os
import signal
import sys
from pathlib import Path

import pytest

from archive_cli.backoff import Backoff
from archive_cli.errors import StartError
from archive_cli.home import Home
from archive_cli.plan import Process, Wave
from archive_cli.report import Report
from archive_cli.supervisor import Supervisor
from archive_testkit.waiting import eventually

GRACE_S = 20.0


def make(home: Home, *, grace_s: float = GRACE_S) -> tuple[Supervisor, io.StringIO]:
    told = io.StringIO()
    report = Report(log=home.logs / "supervisor.log", stream=told)
    env = os.environ | {"ARCHIVE_HOME": str(home.path)}
    backoff = Backoff(first_s=0.01, cap_s=0.02)
    return Supervisor(home=home, report=report, env=env, grace_s=grace_s, backoff=backoff), told


def service(home: Home, script: Path, name: str, wave: Wave = Wave.SERVICE) -> Process:
    ready_file = home.path / "run" / f"{name}.json"
    command = (sys.executable, str(script))
    env = {"ARCHIVE_READY_FILE": str(ready_file)}
    return Process(name=name, service=name, wave=wave, command=command, env=env, ready_file=ready_file)


@pytest.fixture
def script(fake_services: Path) -> Path:
    return fake_services / "archive_router" / "__main__.py"


async def test_ready_process_tells_its_port(home: Home, script: Path) -> None:
    supervisor, told = make(home)
    async with supervisor:
        supervisor.start(service(home, script, "one"))
        await supervisor.wait_ready(["one"], timeout_s=30)
        (info,) = supervisor.processes
        assert info.state == "ready"
        assert info.health_port > 0
    assert "one" in told.getvalue()


async def test_dead_process_returns(home: Home, script: Path) -> None:
    supervisor, told = make(home)
    async with supervisor:
        supervisor.start(service(home, script, "one"))
        await supervisor.wait_ready(["one"], timeout_s=30)
        first = supervisor.processes[0].pid
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: supervisor.processes[0].restarts == 1 and supervisor.processes[0].state == "ready")
        assert supervisor.processes[0].pid != first
    assert "killed by SIGKILL; started again in" in told.getvalue()


async def test_early_death_shows_last_lines(home: Home) -> None:
    supervisor, told = make(home)
    async with supervisor:
        command = ("sh", "-c", "echo the reason; exit 1")
        supervisor.start(Process(name="one", service="one", wave=Wave.SERVICE, command=command, port=1))
        await eventually(lambda: supervisor.processes[0].restarts > 2)
    assert "| the reason" in told.getvalue()


async def test_unusable_environment_is_final(home: Home, script: Path) -> None:
    (home.path / "one.unusable").write_text("")
    supervisor, told = make(home)
    async with supervisor:
        supervisor.start(service(home, script, "one"))
        with pytest.raises(StartError, match="one cannot start"):
            await supervisor.wait_ready(["one"], timeout_s=30)
        assert supervisor.processes[0].restarts == 0
    assert "| SETTING is missing" in told.getvalue()


async def test_late_process_names_its_check(home: Home, script: Path) -> None:
    (home.path / "one.broken").write_text("")
    supervisor, told = make(home)
    async with supervisor:
        supervisor.start(service(home, script, "one"))
        with pytest.raises(StartError, match="Not ready after 2 s: one"):
            await supervisor.wait_ready(["one"], timeout_s=2)
    assert "bus: is away" in told.getvalue()


async def test_drain_follows_the_waves(home: Home, script: Path) -> None:
    supervisor, _ = make(home)
    async with supervisor:
        for name, wave in (("engine", Wave.ENGINE), ("door", Wave.DOOR), ("middle", Wave.SERVICE)):
            supervisor.start(service(home, script, name, wave))
        await supervisor.wait_ready(["engine", "door", "middle"], timeout_s=30)
    assert (home.path / "order").read_text().split() == ["door", "middle", "engine"]


async def test_deaf_process_is_killed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_cli.supervisor._OVERTIME_S", 0.1)
    supervisor, told = make(home, grace_s=0.1)
    async with supervisor:
        command = ("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done")
        supervisor.start(Process(name="one", service="one", wave=Wave.SERVICE, command=command, port=1))
        await eventually(
            lambda: "deaf" in (home.logs / "one.log").read_text() if (home.logs / "one.log").exists() else False
        )
    assert "did not end within" in told.getvalue()


async def test_kill_ends_all_at_once(home: Home, script: Path) -> None:
    supervisor, _ = make(home)
    async with supervisor:
        supervisor.start(service(home, script, "one"))
        await supervisor.wait_ready(["one"], timeout_s=30)
        supervisor.kill()
    assert not (home.path / "order").exists()


async def test_retired_process_stays_away(home: Home, script: Path) -> None:
    supervisor, _ = make(home)
    async with supervisor:
        supervisor.start(service(home, script, "one"))
        supervisor.start(service(home, script, "two"))
        await supervisor.wait_ready(["one", "two"], timeout_s=30)
        await supervisor.retire("one")
        assert [info.name for info in supervisor.processes] == ["two"]


async def test_stuck_process_is_restarted(home: Home, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_cli.supervisor._LIVENESS_S", 0.05)
    supervisor, told = make(home)
    async with supervisor:
        supervisor.start(service(home, script, "one"))
        await supervisor.wait_ready(["one"], timeout_s=30)
        (home.path / "one.broken").write_text("")
        await eventually(lambda: supervisor.processes[0].restarts > 0)
        (home.path / "one.broken").unlink()
    assert "does not make progress" in told.getvalue()
