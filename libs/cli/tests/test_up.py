"""The whole command with its real servers; only the services behind it are small stand-ins."""

import json
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from archive_testkit.waiting import wait_for

if TYPE_CHECKING:
    from conftest import Archive

RUNNING = {
    "gateway",
    "console",
    "router",
    "memory",
    "librarian",
    "agent",
    "tool-runner",
    "engine-embed",
    "bus",
    "state",
}


def test_up_tells_what_runs(archive: "Archive") -> None:
    archive.start()
    info = archive.read()
    assert {process["name"] for process in info["processes"]} == RUNNING
    assert all(process["state"] == "ready" for process in info["processes"])
    assert (archive.home / "run.json").stat().st_mode & 0o777 == 0o600
    status = archive.run("status", "--json")
    assert json.loads(status.stdout)["memory_mb"] > 0


def test_second_up_finds_the_first(archive: "Archive") -> None:
    archive.start()
    found = archive.run("up")
    assert found.returncode == 0
    assert archive.read()["url"] in found.stdout
    assert "runs already" in found.stdout


def test_down_drains_and_leaves_nothing(archive: "Archive") -> None:
    process = archive.start()
    family = psutil.Process(process.pid).children(recursive=True)
    assert archive.run("down").returncode == 0
    assert process.wait(30) == 0
    assert not living(family)
    order = (archive.home / "order").read_text().split()
    assert set(order[:2]) == {"gateway", "console"}, "those whom clients call end first, together"
    assert order[-1] == "engine-embed"
    assert archive.read() == {}


def test_interrupt_drains_too(archive: "Archive") -> None:
    process = archive.start()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert len((archive.home / "order").read_text().split()) == len(RUNNING - {"bus", "state"})


def test_children_die_with_a_killed_supervisor(archive: "Archive") -> None:
    process = archive.start()
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= len(RUNNING)
    process.kill()
    process.wait()
    wait_for(lambda: not living(family))
    assert archive.run("status").returncode == 3


def test_dead_service_returns(archive: "Archive") -> None:
    archive.start()
    before = archive.process("router")["pid"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: archive.process("router").get("state") == "ready" and archive.process("router")["restarts"])
    assert archive.process("router")["pid"] != before


def test_unwritable_run_file_ends_nothing(archive: "Archive") -> None:
    process = archive.start()
    blocking = archive.home / f"run.json.{process.pid}.part"
    blocking.mkdir()
    os.kill(archive.process("router")["pid"], signal.SIGKILL)
    log = archive.home / "logs" / "supervisor.log"
    wait_for(lambda: "run.json unwritten" in log.read_text())
    blocking.rmdir()
    wait_for(lambda: archive.process("router").get("state") == "ready")
    assert process.poll() is None


def test_killed_server_returns_with_its_data(archive: "Archive") -> None:
    archive.start()
    assert b"OK" in ask_bus(archive, "SET kept yes")
    os.kill(archive.process("bus")["pid"], signal.SIGKILL)
    wait_for(lambda: archive.process("bus").get("state") == "ready" and archive.process("bus")["restarts"])
    assert b"yes" in ask_bus(archive, "GET kept")


def test_data_outlives_the_run(archive: "Archive") -> None:
    first = archive.start()
    ask_bus(archive, "SET kept yes")
    archive.run("down")
    first.wait(30)
    archive.start()
    assert b"yes" in ask_bus(archive, "GET kept")


def test_added_engine_gets_a_worker(archive: "Archive") -> None:
    archive.start()
    assert archive.run("engines", "add", "http://127.0.0.1:9", "--name", "mine").returncode == 0
    wait_for(lambda: archive.process("engine-mine").get("state") == "ready")
    assert archive.run("engines", "remove", "mine").returncode == 0
    wait_for(lambda: not archive.process("engine-mine"))


def test_replicas_are_started(archive: "Archive") -> None:
    archive.start("--scale", "router=2", "librarian=2")
    assert archive.process("router-2")["state"] == archive.process("librarian-2")["state"] == "ready"


def test_taken_port_has_its_own_code(archive: "Archive") -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = archive.run("up", "--no-model", "--port", str(server.getsockname()[1]))
    assert found.returncode == 5
    assert "--port N" in found.stderr
    assert f"pid {os.getpid()}" in found.stderr


def test_broken_service_fails_the_start(archive: "Archive") -> None:
    archive.home.mkdir()
    (archive.home / "memory.unusable").write_text("")
    found = archive.run("up", "--no-model", "--port", "0")
    assert found.returncode == 1
    assert "| SETTING is missing" in found.stdout
    assert "memory cannot start" in found.stderr


def test_detached_start_returns_ready(archive: "Archive") -> None:
    found = archive.run("up", "--detach", "--json", "--no-model", "--no-find", "--port", "0")
    assert found.returncode == 0
    assert json.loads(found.stdout)["url"] == archive.read()["url"]


def test_passwords_stay_off_the_command_line(archive: "Archive") -> None:
    process = archive.start()
    password = archive.read()["bus_url"].split(":")[2].split("@")[0]
    for child in psutil.Process(process.pid).children(recursive=True):
        assert password not in " ".join(child.cmdline())
    logs = Path(archive.home / "logs").glob("*.log")
    assert not any(password in log.read_text() for log in logs)


def living(family: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run; a zombie waits only to be counted."""
    found: list[psutil.Process] = []
    for child in family:
        try:
            if child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def ask_bus(archive: "Archive", line: str) -> bytes:
    url = archive.read()["bus_url"]
    credential, _, address = url.removeprefix("redis://").partition("@")
    port = int(address.split(":")[1].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"AUTH {credential.replace(':', ' ')}\r\n{line}\r\nQUIT\r\n".encode())
        return b"".join(iter(lambda: connection.recv(4096), b""))
