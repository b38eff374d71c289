"""Small real processes and servers that stand at the other end of the command."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from archive_cli.home import Home
from archive_testkit.waiting import wait_for

FAKE_SERVICE = """
import http.server, json, os, pathlib, signal, sys

name = os.environ.get("ARCHIVE_READY_FILE", "?").rsplit("/", 1)[-1].removesuffix(".json")
home = pathlib.Path(os.environ["ARCHIVE_HOME"])

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        broken = (home / f"{name}.broken").exists()
        body = {"status": "ok", "services": {name: {"bus": "is away" if broken else None}}}
        self.send_response(503 if broken else 200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
    def log_message(self, *args):
        pass

def stop(*_):
    with (home / "order").open("a") as file:
        file.write(name + chr(10))
    os._exit(0)

signal.signal(signal.SIGTERM, stop)
if (home / f"{name}.unusable").exists():
    sys.stderr.write("SETTING is missing" + chr(10))
    sys.exit(2)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health)
told = {"name": name, "pid": os.getpid(), "health_port": server.server_port}
part = pathlib.Path(os.environ["ARCHIVE_READY_FILE"] + ".part")
part.write_text(json.dumps(told))
part.replace(os.environ["ARCHIVE_READY_FILE"])
print("serving as", name, flush=True)
server.serve_forever()
"""

SERVICES = ("gateway", "console", "router", "engine", "memory", "librarian", "agent", "tool_runner")


@pytest.fixture
def fake_services(tmp_path: Path) -> Path:
    """Return a folder for PYTHONPATH, whose services answer their probes and do nothing else."""
    folder = tmp_path / "fakes"
    for service in SERVICES:
        package = folder / f"archive_{service}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(FAKE_SERVICE)
    return folder


class Archive:
    """Runs the command as a person would, on a data folder of its own."""

    def __init__(self, home: Path, env: Mapping[str, str]) -> None:
        self.home = home
        self.env = dict(env)

    def run(self, *words: str, timeout_s: float = 60.0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            self._command(words),
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `up` in the foreground and wait until it is ready."""
        process = subprocess.Popen(
            self._command(("up", "--port", "0", "--no-model", "--no-find", *words)),
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_for(lambda: process.poll() is not None or self.state() == "ready")
        return process

    def state(self) -> str:
        """Return what the run file says."""
        return str(self.read().get("state", ""))

    def read(self) -> dict[str, Any]:
        """Return the run file."""
        try:
            return json.loads((self.home / "run.json").read_text())
        except (OSError, ValueError):
            return {}

    def process(self, name: str) -> dict[str, Any]:
        """Return what the run file says of one process, or nothing."""
        listed: list[dict[str, Any]] = self.read().get("processes", [])
        none: dict[str, Any] = {}
        return next((item for item in listed if item["name"] == name), none)

    @staticmethod
    def _command(words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "archive_cli", *words]


@pytest.fixture
def archive(tmp_path: Path, fake_services: Path) -> Iterator[Archive]:
    """The command, on an empty data folder, with fake services."""
    hidden = ("ARCHIVE_", "GATEWAY_", "ENGINE_", "ROUTER_", "OTEL_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    command = Archive(
        tmp_path / "home", env | {"ARCHIVE_HOME": str(tmp_path / "home"), "PYTHONPATH": str(fake_services)}
    )
    yield command
    if command.read():
        command.run("down", "--now")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A prepared data folder."""
    folder = Home(tmp_path / "home")
    folder.prepare()
    return folder


Answer = tuple[int, object]


class FakeGateway:
    """An HTTP server that answers as the gateway's contract says, from a table of (method, path)."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Answer] = {}
        self.requests: list[tuple[str, str, bytes, dict[str, str]]] = []
        table = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                table.requests.append((self.command, self.path, self._body(length), dict(self.headers.items())))
                status, body = table.answers.get((self.command, self.path.split("?")[0]), (404, {"detail": "no"}))
                sent = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "text/event-stream" if isinstance(body, bytes) else "application/json")
                self.end_headers()
                self.wfile.write(sent)

            def _body(self, length: int) -> bytes:
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(length)
                whole = b""
                while size := int(self.rfile.readline(), 16):
                    whole += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return whole

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - http.server asks for these names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name for it
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answer(self, method: str, path: str, body: object, status: int = 200) -> None:
        """Set what a path answers."""
        self.answers[method, path] = (status, body)

    def events(self, method: str, path: str, *events: tuple[str, object]) -> None:
        """Set the event stream that a path answers; a text is sent as it is."""
        lines = (
            f"event: {name}\ndata: {data if isinstance(data, str) else json.dumps(data)}\n\n" for name, data in events
        )
        self.answers[method, path] = (200, "".join(lines).encode())

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fake_gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    """A gateway that ARCHIVE_URL points to."""
    server = FakeGateway()
    monkeypatch.setenv("ARCHIVE_URL", server.url)
    monkeypatch.delenv("ARCHIVE_API_KEY", raising=False)
    yield server
    server.close()
