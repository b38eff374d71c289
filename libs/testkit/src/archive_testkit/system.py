"""The whole system for end-to-end tests: what ``archive up`` starts, in a folder of its own on free ports."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redis import Redis

START_S = 90.0
STOP_S = 40.0


class SystemFailed(RuntimeError):
    """The system did not start, or did not end, in time; the text holds what it printed."""


class ArchiveSystem:
    """One running system."""

    def __init__(self, home: Path, *, options: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        self.home = home
        self._options = tuple(options)
        self._env = {**os.environ, **(env or {}), "ARCHIVE_HOME": str(home)}
        self._log = home.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def run_info(self) -> dict[str, Any]:
        """What run.json says now."""
        return json.loads((self.home / "run.json").read_text())

    @property
    def url(self) -> str:
        """The gateway's address."""
        return str(self.run_info["url"])

    def pid_of(self, name: str) -> int:
        """Return the process id of a child."""
        return int(next(process["pid"] for process in self.run_info["processes"] if process["name"] == name))

    def start(self) -> "ArchiveSystem":
        """Start it and wait until it is ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "archive_cli", "up", "--port", "0", "--no-find", *self._options]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=self._env)
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            if "is ready" in self._log.read_text(errors="replace"):
                return self
            time.sleep(0.1)
        self.stop()
        raise SystemFailed(self._log.read_text(errors="replace"))

    def stop(self) -> None:
        """Drain and end it."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
            raise SystemFailed(f"it did not end in {STOP_S:g} s: {self._log.read_text(errors='replace')}") from None

    def refusals(self) -> list[str]:
        """Return what the access rules of both servers refused to services since these servers started."""
        found: list[str] = []
        for url in (self.run_info["bus_url"], self.run_info["state_url"]):
            server: Any = Redis.from_url(url, decode_responses=True)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
            with server as client:
                entries: Any = client.acl_log()
            # What a foreign publisher is refused says nothing of the services.
            ours = [entry for entry in entries if not entry["username"].startswith("ingress-")]
            found += [f"{entry['username']}: {entry['object']} ({entry['reason']})" for entry in ours]
        return found

    def kill(self, name: str) -> int:
        """End a child as a crash would. Returns its process id."""
        pid = self.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def command(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """Run the ``archive`` command against it and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "archive_cli", *arguments],
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode:
            raise SystemFailed(f"archive {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout
