"""How a service process starts, ends and says so."""

import json
import signal
import socket
from typing import Any

import pytest


def events(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines()]


def test_sigterm_drains_and_exits_zero(launch: Any) -> None:
    service = launch("drains").until_ready()
    code, log = service.stop()
    assert code == 0
    assert (service.scratch / "drained").exists()
    assert [event["event"] for event in events(log)] == ["started", "stopping", "stopped"]


def test_interrupt_drains_like_sigterm(launch: Any) -> None:
    service = launch("drains").until_ready()
    service.process.send_signal(signal.SIGINT)
    assert service.end()[0] == 0
    assert (service.scratch / "drained").exists()


def test_background_failure_exits_one(launch: Any) -> None:
    service = launch("fails_later").until_ready()
    (service.scratch / "fail").touch()
    code, log = service.end()
    assert code == 1
    failed = next(event for event in events(log) if event["event"] == "the service failed")
    assert failed["service"] == "edge"
    assert "the consume loop broke" in failed["exception"]


def test_failing_start_exits_one(launch: Any) -> None:
    code, log = launch("fails_at_start").end()
    assert code == 1
    assert "no model file" in log


def test_one_failure_drains_others(launch: Any) -> None:
    service = launch("duo").until_ready()
    assert json.loads(service.get("/readyz")[1])["services"] == {
        "router": {"backlog": None},
        "memory": {"backlog": None},
    }
    (service.scratch / "fail").touch()
    code, log = service.end()
    assert code == 1
    assert [event["service"] for event in events(log) if event["level"] == "error"] == ["memory"]
    assert (service.scratch / "drained").exists()


def test_overdue_drain_exits_one(launch: Any) -> None:
    code, log = launch("never_drains", ARCHIVE_GRACE_S="0.2").until_ready().stop()
    assert code == 1
    assert "the drain took too long" in log


def test_stop_ends_unfinished_start(launch: Any) -> None:
    service = launch("never_starts")
    assert service.get("/livez")[0] == 200
    assert service.get("/readyz")[0] == 503
    assert service.stop()[0] == 0


def test_second_signal_exits_at_once(launch: Any) -> None:
    service = launch("never_drains", ARCHIVE_GRACE_S="3600").until_ready()
    service.process.terminate()
    service.wait_for(lambda: "draining" in service.get("/readyz")[1])
    service.process.terminate()
    assert service.end()[0] == -signal.SIGTERM


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ARCHIVE_GRACE_S", "soon"), ("ARCHIVE_LOG_FORMAT", "xml"), ("ARCHIVE_LOG_LEVEL", "loud")],
)
def test_bad_setting_exits_two(launch: Any, variable: str, value: str) -> None:
    code, log = launch("drains", **{variable: value}).end()
    assert code == 2
    assert variable in log
    assert "Traceback" not in log


def test_unwritable_ready_file_says_so(launch: Any) -> None:
    code, log = launch("drains", ARCHIVE_READY_FILE="/proc/nowhere/ready.json").end()
    assert code == 1
    assert "ARCHIVE_READY_FILE" in log
    assert "Traceback" not in log


def test_taken_port_says_so(launch: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        code, log = launch("drains", PORT=str(holder.getsockname()[1])).end()
    assert code == 1
    assert events(log)[-1]["code"] == "health_port_taken"


def test_blocked_loop_is_ended(launch: Any) -> None:
    code, _ = launch("blocks_drain", ARCHIVE_GRACE_S="0").until_ready().stop()
    assert code == 1


def test_early_end_exits_one(launch: Any) -> None:
    code, log = launch("ends_early").end()
    assert code == 1
    assert "ended without being asked" in log
