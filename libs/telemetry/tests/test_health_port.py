"""What the health port answers to probes, scrapers and nonsense."""

import json
import socket
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families


def exchange(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_readyz_names_broken_check(launch: Any) -> None:
    service = launch("drains").until_ready()
    (service.scratch / "broken").touch()
    status, body = service.get("/readyz")
    assert status == 503
    assert json.loads(body)["services"]["edge"]["backlog"] == "redis://[redacted]@host is gone"
    assert service.get("/livez")[0] == 200


def test_livez_reports_stuck_loop(launch: Any) -> None:
    service = launch("drains").until_ready()
    (service.scratch / "stuck").touch()
    status, body = service.get("/livez")
    assert (status, json.loads(body)["services"]["edge"]["live"]) == (503, "no progress for 40 s")


def test_unready_says_when_to_ask_again(launch: Any) -> None:
    service = launch("drains").until_ready()
    (service.scratch / "broken").touch()
    assert b"\r\nretry-after: 2\r\n" in exchange(service.port, b"GET /readyz HTTP/1.1\r\n\r\n")


def test_hanging_check_is_bounded(launch: Any) -> None:
    service = launch("hanging_check")
    service.wait_for(lambda: "starting" not in service.get("/readyz")[1])
    status, body = service.get("/readyz")
    assert status == 503
    assert "no answer within" in body


def test_health_shows_info(launch: Any) -> None:
    status, body = launch("drains").until_ready().get("/health")
    shown = json.loads(body)
    assert (status, shown["name"], shown["status"]) == (200, "edge", "ok")
    assert shown["services"]["edge"]["info"] == {"lanes": 2}


def test_metrics_parse_as_prometheus(launch: Any) -> None:
    status, body = launch("drains").until_ready().get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(body)}
    assert status == 200
    assert {"process_resident_memory_bytes", "process_open_fds", "edge_starts"} <= families.keys()
    assert families["edge_starts"].samples[0].labels == {"mode": "drains"}


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nope HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /livez/?x=1 HTTP/1.0\r\n\r\n", b"200"),
        (b"POST /livez HTTP/1.1\r\n\r\n", b"405"),
        (b"\x16\x03\x01\x02\r\n\r\n", b"400"),
        (b"GET / SPDY/9\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nx: " + b"y" * 9000 + b"\r\n\r\n", b"431"),
    ],
)
def test_odd_requests_get_status(launch: Any, request_bytes: bytes, status: bytes) -> None:
    answer = exchange(launch("drains").until_ready().port, request_bytes)
    assert answer.split(b" ")[1] == status


def test_silent_clients_harm_nobody(launch: Any) -> None:
    service = launch("drains").until_ready()
    silent = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(20)]
    assert service.get("/livez")[0] == 200
    assert service.stop()[0] == 0
    for connection in silent:
        connection.close()


def test_head_has_no_body(launch: Any) -> None:
    answer = exchange(launch("drains").until_ready().port, b"HEAD /livez HTTP/1.1\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length: " in answer
