"""One running process: started on a leash, its output in a file, ended in good order."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archive_cli import leash, probe
from archive_cli.plan import Process, Wave

ROTATE_BYTES = 4 << 20
_KEPT_LOGS = 3
_POLL_S = 0.1


class Child:
    """A started process. Its process group is its own, so that Ctrl-C reaches the supervisor alone."""

    def __init__(self, plan: Process, process: asyncio.subprocess.Process, log: Path, log_from: int) -> None:
        self.plan = plan
        self.health_port = 0
        self.was_ready = False
        self._process = process
        self._log = log
        self._log_from = log_from
        self._started = time.monotonic()

    @classmethod
    async def start(cls, plan: Process, *, logs: Path, env: Mapping[str, str]) -> "Child":
        """Start a process; what surrounds the supervisor is its environment too, unless the plan says otherwise.

        Raises:
            OSError: the interpreter or the log file cannot be used.
        """
        log = logs / f"{plan.name}.log"
        if plan.ready_file is not None:
            plan.ready_file.unlink(missing_ok=True)
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *plan.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env={**env, **plan.env},
                start_new_session=True,
            )
            return cls(plan, process, log, output.tell())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def lived_s(self) -> float:
        """How long it has been running, seconds."""
        return time.monotonic() - self._started

    async def wait(self) -> int:
        """Wait for its end; return the exit code, negative for a signal."""
        return await self._process.wait()

    async def wait_ready(self) -> None:
        """Wait until it says that it is ready."""
        while not await self.ready():  # noqa: ASYNC110 - another process has to be asked, it sets no event of ours
            await asyncio.sleep(_POLL_S)
        self.was_ready = True

    async def ready(self) -> bool:
        """Ask it whether it is ready."""
        if self.plan.wave is Wave.STORE:
            return await probe.ping(self.plan.port)
        if self.plan.ready_file is None:
            return (await probe.get("127.0.0.1", self.plan.port, "/health")).status == 200
        return (await self._ask("/readyz")).status == 200

    async def stuck(self) -> bool:
        """Ask whether only a restart helps; a process without such an answer is never stuck."""
        return self.health_port > 0 and (await self._ask("/livez")).status != 200

    async def complaint(self) -> str:
        """Return what it says it is waiting for, in one line."""
        if self.plan.ready_file is None:
            return "does not answer yet"
        answer = await self._ask("/readyz")
        if not answer.status:
            return "does not answer yet"
        return "; ".join(probe.failing_checks(answer.body))[:300] or "is not ready"

    def last_lines(self, count: int = 12) -> list[str]:
        """Return the last lines it wrote since its start."""
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_from, size - 16_384))
            return file.read().decode(errors="replace").splitlines()[-count:]

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, with all it started."""
        self._signal(signal.SIGKILL, group=True)

    def _signal(self, number: signal.Signals, *, group: bool = False) -> None:
        if self._process.returncode is not None:
            return
        try:
            if group:
                os.killpg(self.pid, number)
            else:
                self._process.send_signal(number)
        except ProcessLookupError:
            pass

    async def _ask(self, path: str) -> probe.Answer:
        if not self.health_port:
            self.health_port = self._told_port()
        if not self.health_port:
            return probe.Answer(0)
        return await probe.get("127.0.0.1", self.health_port, path, timeout_s=5.0)

    def _told_port(self) -> int:
        """Return the port from its ready file, 0 until it is there; a file of an earlier start does not count."""
        try:
            told: Any = json.loads(self.plan.ready_file.read_bytes()) if self.plan.ready_file else {}
            return int(told["health_port"]) if told["pid"] == self.pid else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0


def rotate(logs: Path) -> None:
    """Move big logs aside before a start: NAME.log becomes NAME.log.1, up to three old ones."""
    for log in logs.glob("*.log"):
        if log.stat().st_size < ROTATE_BYTES:
            continue
        for number in range(_KEPT_LOGS - 1, 0, -1):
            old = log.with_name(f"{log.name}.{number}")
            if old.exists():
                old.replace(log.with_name(f"{log.name}.{number + 1}"))
        log.replace(log.with_name(f"{log.name}.1"))


def describe_exit(code: int) -> str:
    """Say in words how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
