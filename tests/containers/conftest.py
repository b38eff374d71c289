"""The compose project under test. Without an engine, or outside of make test-containers, it says why it is out."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from archive_testkit.containers import BUILD_S, ContainerEngine, NoEngine
from archive_testkit.servers import free_port

ROOT = Path(__file__).parents[2]
UP_S = 600
SIZES = pytest.StashKey[dict[str, str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and leave it out where it was not asked for."""
    for item in items:
        if "containers" in Path(item.fspath).parts:
            item.add_marker(pytest.mark.containers)
            item.add_marker(pytest.mark.timeout(BUILD_S + UP_S))
            if os.environ.get("TEST_CONTAINERS") != "1":
                item.add_marker(pytest.mark.skip(reason="make test-containers runs these"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how large the images are."""
    for name, size in config.stash.get(SIZES, dict[str, str]()).items():
        terminalreporter.write_line(f"image {name}: {size}")


class Project:
    """The whole system by compose, under a name, with secrets and on ports of its own."""

    def __init__(
        self, engine: ContainerEngine, secrets: Path, *, name: str = "archive-test", overlays: Sequence[Path] = ()
    ) -> None:
        self.engine = engine
        self._files = [ROOT / "compose" / "compose.yaml", *overlays]
        self.secrets = secrets
        self.name = name
        ports = {"GATEWAY_PORT": str(free_port()), "CONSOLE_PORT": str(free_port())}
        self._environment = {"ARCHIVE_SECRETS": str(secrets), **ports}
        self._base = ""

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self._environment['GATEWAY_PORT']}"

    def address(self, gateway: str) -> str:
        """Return where a container of the gateway answers."""
        return f"http://{self.engine.docker('port', gateway, '8080').split()[0]}"

    @contextmanager
    def beside(self, name: str, *overlays: Path) -> Generator["Project", None, None]:
        """Run another project while this one rests: the health checks of twelve more containers take a processor."""
        other = Project(self.engine, self.secrets, name=name, overlays=overlays)
        resting = self.run("ps", "--quiet").split()
        self.engine.docker("pause", *resting)
        try:
            other.up()
            yield other
        finally:
            other.stop()
            self.engine.docker("unpause", *resting)

    @property
    def key(self) -> str:
        """The key that callers show."""
        lines = (line.partition("=") for line in (self.secrets / "env").read_text().splitlines())
        return next(value for name, _, value in lines if name == "GATEWAY_API_KEY")

    def run(self, *words: str, timeout_s: float = UP_S) -> str:
        """Run one command of docker compose and return what it prints."""
        files = ["--project-name", self.name, "--env-file", str(self.secrets / "env")]
        places = [word for path in self._files for word in ("--file", str(path))]
        return self.engine.docker("compose", *files, *places, *words, timeout_s=timeout_s, env=self._environment)

    def build(self, *words: str) -> None:
        """Build images, all or those named."""
        self.run("build", "--build-arg", f"BASE={self._base}", *words, timeout_s=BUILD_S)

    def container(self, service: str) -> str:
        """Return the id of a service's one container."""
        (found,) = self.containers(service)
        return found

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers."""
        return self.run("ps", "--all", "--quiet", service).split()

    def inspect(self, service: str, path: Sequence[str]) -> Any:
        """Return a part of what the engine says of a service's container."""
        found: Any = json.loads(self.engine.docker("inspect", self.container(service)))[0]
        for name in path:
            found = found[name]
        return found

    def stop_at_work(self, container: str) -> None:
        """Stop a container, which is to end within its grace."""
        self.engine.docker("stop", container, timeout_s=200)
        ended_with = self.engine.docker("inspect", "--format", "{{.State.ExitCode}}", container).strip()
        assert ended_with == "0", "a process ends with 1 when its drain took longer than its grace"

    def operate(self, *words: str) -> str:
        """Run a command in a container of the operator's and return what it prints."""
        return self.run("run", "--rm", "-T", "operator", *words)

    def examine(self) -> list[dict[str, str]]:
        """Have the operator's doctor look at everything; return what it finds."""
        return json.loads(self.operate("archive", "doctor", "--json"))["findings"]

    def make_secrets(self) -> None:
        """Make up what is missing of the secrets."""
        words = [sys.executable, "-m", "archive_cli", "secrets", "--out", str(self.secrets)]
        subprocess.run(words, check=True, capture_output=True)

    def up(self, *services: str) -> None:
        """Start services, or all, and wait until they are healthy."""
        self.run("up", "--detach", "--wait", "--wait-timeout", str(UP_S), *services, timeout_s=UP_S + 60)

    def start(self) -> None:
        """Make secrets, build, start, and wait until all is healthy."""
        self.make_secrets()
        recipe = (ROOT / "compose" / "Dockerfile").read_text()
        self._base = self.engine.base(re.findall(r"^ARG BASE=(.+)$", recipe, re.MULTILINE)[0])
        told: Any = yaml.safe_load((ROOT / "compose" / "compose.yaml").read_text())
        self.engine.provide_valkey(told["services"]["bus"]["image"], base=self._base)
        self.build()
        self.up()

    def stop(self) -> None:
        """End it with its volumes, also those of the operator's container."""
        self.run("--profile", "operator", "down", "--volumes", "--timeout", "60")


@pytest.fixture(scope="session")
def engine() -> Iterator[ContainerEngine]:
    """A container engine; what one of our own keeps stays in .tools, so that the next run builds what changed."""
    try:
        with ContainerEngine(ROOT / ".tools" / "docker", tools=ROOT / ".tools") as engine:
            yield engine
    except NoEngine as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def project(
    engine: ContainerEngine, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """The running system."""
    project = Project(engine, tmp_path_factory.mktemp("secrets"))
    try:
        project.start()
        request.config.stash[SIZES] = engine.sizes("archive/*")
        yield project
    finally:
        project.stop()
