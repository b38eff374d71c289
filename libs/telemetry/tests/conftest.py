"""Real processes with a health port."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

EDGE = Path(__file__).parent / "apps" / "edge.py"
_PATIENCE_S = 60.0


@dataclass
class Service:
    """A started test service."""

    process: subprocess.Popen[str]
    scratch: Path
    ready_file: Path

    @property
    def port(self) -> int:
        self.wait_for(self.ready_file.exists)
        return json.loads(self.ready_file.read_text())["health_port"]

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def until_ready(self) -> "Service":
        self.wait_for(lambda: self.get("/readyz")[0] == 200)
        return self

    def wait_for(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not condition():
            if self.process.poll() is not None:
                pytest.fail(
                    f"exited with {self.process.returncode}: {self.process.stderr and self.process.stderr.read()}"
                )
            if time.monotonic() > end:
                pytest.fail("the condition did not come true")
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        """Wait for the process; returns its exit code and log."""
        _, log = self.process.communicate(timeout=_PATIENCE_S)
        return self.process.returncode, log

    def stop(self) -> tuple[int, str]:
        self.process.terminate()
        return self.end()


Launch = Callable[..., Service]


@pytest.fixture
def launch(tmp_path: Path) -> Generator[Launch]:
    started: list[Service] = []

    def start(mode: str, **env: str) -> Service:
        ready_file = tmp_path / "ready.json"
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "ARCHIVE_"))}
        process = subprocess.Popen(
            [sys.executable, str(EDGE), mode],
            env=clean
            | {"SCRATCH": str(tmp_path), "ARCHIVE_READY_FILE": str(ready_file), "ARCHIVE_GRACE_S": "10"}
            | env,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(Service(process, tmp_path, ready_file))
        return started[-1]

    yield start
    for service in started:
        service.process.kill()
        service.process.communicate()
