"""The health check of a container tells an answer of 200 from everything else."""

import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from archive_testkit.servers import free_port

SCRIPT = Path(__file__).parents[2] / "compose" / "healthy.py"


@contextmanager
def answering(answer: bytes) -> Generator[int]:
    """Answer one connection with these bytes once it has asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(answer)

        asked = Thread(target=serve)
        asked.start()
        yield server.getsockname()[1]
        asked.join()


def checked(port: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-IS", str(SCRIPT), str(port), "/readyz"]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)


def test_answer_of_200_is_healthy() -> None:
    with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok") as port:
        found = checked(port)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answers 503"),
        (b"", "no answer of HTTP"),
        (b"+PONG\r\n", "no answer of HTTP"),
        (b"HTTP/1.1 later\r\n\r\n", "nobody answers"),
    ],
)
def test_other_answer_is_not_healthy(answer: bytes, said: str) -> None:
    with answering(answer) as port:
        found = checked(port)
    assert found.returncode == 1
    assert said in found.stderr


def test_port_that_nobody_holds_is_not_healthy() -> None:
    port = free_port()
    found = checked(port)
    assert found.returncode == 1
    assert f"port {port}" in found.stderr
