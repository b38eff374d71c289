"""The compose project under test. Without an engine, or outside of make test-containers, it says why it is out."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BUILD_S, UP_S = 3600, 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and leave it out where it cannot run."""
    reason = why_not()
    for item in items:
        if "containers" in Path(item.fspath).parts:
            item.add_marker(pytest.mark.containers)
            item.add_marker(pytest.mark.timeout(BUILD_S + UP_S))
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def why_not() -> str:
    """Return why containers cannot be tested here, or nothing."""
    if os.environ.get("TEST_CONTAINERS") != "1":
        return "make test-containers runs these"
    if (docker := shutil.which("docker")) is None:
        return "docker is not installed"
    told = subprocess.run([docker, "version", "--format", "{{.Server.Version}}"], capture_output=True, check=False)
    return "" if told.returncode == 0 else f"no container engine answers: {told.stderr.decode().strip()[:200]}"


class Project:
    """The whole system by compose, under a name of its own."""

    def __init__(self) -> None:
        self.secrets = ROOT / "compose" / "secrets"
        self._made = not self.secrets.exists()

    @property
    def key(self) -> str:
        """The key that callers show."""
        lines = (line.partition("=") for line in (self.secrets / "env").read_text().splitlines())
        return next(value for name, _, value in lines if name == "GATEWAY_API_KEY")

    def run(self, *words: str, timeout_s: float = UP_S) -> str:
        """Run one command of docker compose and return what it prints."""
        files = ["--project-name", "archive-test", "--env-file", str(self.secrets / "env")]
        done = subprocess.run(
            ["docker", "compose", *files, "--file", str(ROOT / "compose" / "compose.yaml"), *words],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"docker compose {' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def container(self, service: str) -> str:
        """Return the id of a service's container."""
        return self.run("ps", "--quiet", service).strip()

    def inspect(self, service: str, path: Sequence[str]) -> Any:
        """Return a part of what the engine says of a service's container."""
        words = ["docker", "inspect", self.container(service)]
        found: Any = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)[0]
        for name in path:
            found = found[name]
        return found

    def start(self) -> None:
        """Make secrets, build, start, and wait until all is healthy."""
        words = [sys.executable, "-m", "archive_cli", "secrets", "--out", str(self.secrets)]
        subprocess.run(words, check=True, capture_output=True)
        self.run("build", timeout_s=BUILD_S)
        self.run("up", "--detach", "--wait", "--wait-timeout", str(UP_S), timeout_s=UP_S + 60)

    def stop(self) -> None:
        """End it with its volumes, and the secrets that it made."""
        self.run("down", "--volumes", "--timeout", "60")
        if self._made:
            shutil.rmtree(self.secrets)


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    """The running system."""
    project = Project()
    try:
        project.start()
        yield project
    finally:
        project.stop()
