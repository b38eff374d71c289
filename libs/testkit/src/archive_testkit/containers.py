"""A container engine for tests: the one that answers, else Debian's own, started for as long as the tests run.

Neither needs a registry: where the base image cannot be pulled, mmdebstrap makes one, and Valkey's image is replaced by
one around the server that the other tests run on.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from archive_testkit.servers import server_binary

READY_S, INSTALL_S, BUILD_S = 60.0, 600.0, 3600.0
SUITE = "bookworm"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
LIMITS = ("--default-ulimit", "nofile=4096:4096", "--default-ulimit", "nproc=4096:4096")
PING = """\
#!/usr/bin/python3
# What the health check asks of valkey-cli.
import socket
with socket.create_connection(("127.0.0.1", 6379), 3) as server:
    server.sendall(b"PING\\r\\n")
    print(server.recv(200).decode())
"""


class NoEngine(RuntimeError):
    """No container engine answers, and none can be started; the text says why."""


class ContainerEngine:
    """A container engine. Enter it to have one; what it keeps, such as layers, lies in ``folder``.

    ``tools`` is searched for the binary of compose where docker has no such plugin.

    Raises, when it is entered:
        NoEngine: there is none.
    """

    def __init__(self, folder: Path, *, tools: Path) -> None:
        self._folder = folder
        self._tools = tools
        self._daemon: subprocess.Popen[bytes] | None = None
        self.env: Mapping[str, str] = dict(os.environ)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._answers():
            self._start()
        try:
            self._find_compose()
        except NoEngine:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def docker(self, *words: str, timeout_s: float = READY_S, env: Mapping[str, str] | None = None) -> str:
        """Run one docker command and return what it prints. Raises AssertionError with its words when it fails."""
        done = subprocess.run(
            ["docker", *words],
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"docker {' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def base(self, wanted: str) -> str:
        """Return an image to build on: the wanted one, else a Debian with Python made here."""
        if self._has(wanted):
            return wanted
        made = f"archive-base:{SUITE}"
        if not self._known(made):
            _have("mmdebstrap")
            archive = self._folder / "base.tar"
            # What is built trusts whom this machine trusts: a mirror may have a certificate of its own.
            trust = f"--customize-hook=upload {CERTIFICATES} {CERTIFICATES}"
            _sure("mmdebstrap", "--variant=minbase", "--include=python3,ca-certificates", trust, SUITE, str(archive))
            self.docker("import", str(archive), made, timeout_s=INSTALL_S)
            archive.unlink()
        return made

    def provide_valkey(self, image: str, *, base: str) -> None:
        """See to it that there is an image of Valkey; one that cannot be pulled is made of the tests' own server."""
        if self._has(image):
            return
        folder = self._folder / "valkey"
        folder.mkdir(exist_ok=True)
        shutil.copy(server_binary(), folder / "valkey-server")
        (folder / "valkey-cli").write_text(PING)
        for name in ("valkey-server", "valkey-cli"):
            (folder / name).chmod(0o755)
        # As in Valkey's image: the volume takes over the owner of this folder.
        own = "RUN mkdir /data && chown 999:999 /data"
        (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY valkey-server valkey-cli /usr/local/bin/\n{own}\n")
        self.docker("build", "--tag", image, str(folder), timeout_s=INSTALL_S)

    def sizes(self, name: str) -> dict[str, str]:
        """Return the sizes of images by their repository, such as of ``archive/*``."""
        told = self.docker("images", name, "--format", "{{.Repository}} {{.Size}}")
        return dict(line.split(" ", 1) for line in sorted(told.splitlines()))

    def _has(self, image: str) -> bool:
        return self._known(image) or self._tries("pull", "--quiet", image)

    def _known(self, image: str) -> bool:
        return self._tries("image", "inspect", image)

    def _answers(self) -> bool:
        return shutil.which("docker") is not None and self._tries("version")

    def _tries(self, *words: str) -> bool:
        done = subprocess.run(["docker", *words], env=self.env, capture_output=True, timeout=INSTALL_S, check=False)
        return done.returncode == 0

    def _start(self) -> None:
        """Start Debian's daemon on a socket of its own."""
        _have("dockerd", package="docker.io")
        folder, log = self._folder.resolve(), self._folder / "dockerd.log"
        socket = f"unix://{folder}/docker.sock"
        places = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/docker.pid"]
        with log.open("wb") as output:
            self._daemon = subprocess.Popen(
                ["dockerd", "--host", socket, *places, *LIMITS], stdout=output, stderr=subprocess.STDOUT
            )
        # Debian's engine has the classic builder alone.
        self.env = {**self.env, "DOCKER_HOST": socket, "DOCKER_BUILDKIT": "0"}
        until = time.monotonic() + READY_S
        while not self._answers():
            if self._daemon.poll() is not None or time.monotonic() > until:
                self._stop()
                raise NoEngine(f"dockerd cannot run here: {' | '.join(log.read_text().splitlines()[-3:])}")
            time.sleep(0.2)

    def _stop(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(READY_S)
            self._daemon = None

    def _find_compose(self) -> None:
        if self._tries("compose", "version"):
            return
        found = next(self._tools.glob("lib/*/site-packages/compose/docker-compose"), None)
        if found is None:
            raise NoEngine("docker has no compose; next: make .tools/.installed, which brings one")
        plugins = self._folder.resolve() / "config" / "cli-plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        shutil.copy(found, plugins / "docker-compose")
        (plugins / "docker-compose").chmod(0o755)
        self.env = {**self.env, "DOCKER_CONFIG": str(plugins.parent)}


def _have(command: str, *, package: str = "") -> None:
    """See to it that a command is there. Raises NoEngine."""
    if shutil.which(command) is not None:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoEngine(f"no container engine answers, and {command} is missing: only root on Debian can install it")
    _sure("apt-get", "update", "-qq")
    _sure("apt-get", "install", "-y", "-qq", "--no-install-recommends", package or command)


def _sure(*words: str) -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(words, env=quiet, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode != 0:
        raise NoEngine(f"{' '.join(words)}: {done.stderr.strip()[-500:]}")
