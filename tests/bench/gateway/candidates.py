"""What is measured: each candidate as the processes it consists of, in front of the same mock engine."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from archive_testkit.servers import RedisServer, free_port

HERE = Path(__file__).parent
START_S = 180.0
LITELLM = "litellm[proxy]==1.106.2"
SLOTS = 256
UV = os.environ.get("UV", "uv")
"""What makes LiteLLM's environment; make names the one that it uses itself."""


@dataclass(frozen=True)
class Candidate:
    """A running candidate. ``pids`` are its own processes, servers included; ``workers`` those that are no server."""

    name: str
    url: str
    pids: tuple[int, ...]
    workers: tuple[int, ...]

    def cpu_s(self) -> float:
        """Return the CPU time of all its processes and their children since their start, in seconds."""
        return sum(map(_cpu_s, _family(self.pids)))

    def rss_mb(self) -> float:
        """Return the resident memory of its largest worker, in MiB."""
        return max(process.memory_info().rss for process in _family(self.workers)) / 2**20


def _family(pids: Sequence[int]) -> list[psutil.Process]:
    roots = [psutil.Process(pid) for pid in pids]
    return [*roots, *(child for root in roots for child in root.children(recursive=True))]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user) + float(times.system)


@contextmanager
def mock_engine() -> Generator[str, None, None]:
    """Run the mock engine and yield its address."""
    port = free_port()
    with _process([sys.executable, str(HERE / "mock_engine.py"), str(port)], {}, f"http://127.0.0.1:{port}/v1/models"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def floor(engine: str) -> Generator[Candidate, None, None]:
    """Run the bare pass-through."""
    port = free_port()
    command = [sys.executable, str(HERE / "floor.py"), str(port), engine]
    with _process(command, {}, f"http://127.0.0.1:{port}/livez") as pid:
        yield Candidate("floor", f"http://127.0.0.1:{port}", (pid,), (pid,))


@contextmanager
def litellm(engine: str, home: Path, folder: Path) -> Generator[Candidate, None, None]:
    """Run LiteLLM's proxy, one worker, out of an environment of its own that is made at the first run."""
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(home)], check=True)
        subprocess.run([UV, "pip", "install", "--quiet", "--python", str(python), LITELLM], check=True)
    config = folder / "litellm.json"
    params = {"model": "openai/mock", "api_base": f"{engine}/v1", "api_key": "none"}
    tree = {"model_list": [{"model_name": "mock", "litellm_params": params}], "litellm_settings": {"telemetry": False}}
    config.write_text(json.dumps(tree))  # JSON is YAML
    port = free_port()
    command = [str(home / "bin" / "litellm"), "--config", str(config), "--port", str(port), "--num_workers", "1"]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    env["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"
    with _process(command, env, f"http://127.0.0.1:{port}/health/liveliness") as pid:
        yield Candidate("litellm", f"http://127.0.0.1:{port}", (pid,), (pid,))


@contextmanager
def ours(engine: str, folder: Path) -> Generator[Candidate, None, None]:
    """Run gateway, router and an engine worker, one each, and both servers."""
    with ExitStack() as stack:
        bus, state = RedisServer(durable=True).start(), RedisServer().start()
        stack.callback(state.stop)
        stack.callback(bus.stop)
        port = free_port()
        env = {
            "ARCHIVE_BUS_URL": bus.url,
            "ARCHIVE_STATE_URL": state.url,
            "ARCHIVE_BLOBS_URL": f"file://{folder}/blobs",
            "ARCHIVE_HEALTH_PORT": "0",
            "ARCHIVE_LOG_LEVEL": "warning",
            "ENGINE_BASE_URL": f"{engine}/v1",
            "ENGINE_SLOTS": str(SLOTS),
            "GATEWAY_PORT": str(port),
        }
        url = f"http://127.0.0.1:{port}"
        workers = [
            stack.enter_context(_process([sys.executable, "-m", f"archive_{name}"], env, ""))
            for name in ("engine", "router")
        ]
        ready = f"{url}/v1/models/mock"
        workers.append(stack.enter_context(_process([sys.executable, "-m", "archive_gateway"], env, ready)))
        yield Candidate("ours", url, (*workers, bus.pid, state.pid), tuple(workers))


@contextmanager
def _process(command: Sequence[str], env: Mapping[str, str], ready: str) -> Generator[int, None, None]:
    started = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + START_S
        while ready and not _answers(ready):
            if started.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{' '.join(command)} does not answer at {ready}")
            time.sleep(0.2)
        yield started.pid
    finally:
        started.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(20)
        started.kill()
        started.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False
