"""Two machines without a shared disk: blobs travel through an object store, everything else over the bus."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# boto3 has no types.

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from archive_testkit.documents import FACTS, pdf
from archive_testkit.jobs import ended
from archive_testkit.servers import RedisServer, free_port

BUCKET = "archive"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


class Node:
    """One machine: some services, and a folder that the other machine does not see."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        folder.mkdir()
        self._folder = folder
        self._env = {**os.environ, **env}
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, service: str, **settings: str) -> Path:
        """Start a service; returns the file that will name its health port."""
        ready = self._folder / f"{service}.json"
        env = {**self._env, **settings, "ARCHIVE_READY_FILE": str(ready)}
        log = (self._folder / f"{service}.log").open("wb")
        module = f"archive_{service.replace('-', '_')}"
        self._processes.append(subprocess.Popen([sys.executable, "-m", module], env=env, stdout=log, stderr=log))
        log.close()
        return ready

    def stop(self) -> None:
        """Drain and end what runs."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(30)


def wait_ready(ready: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            port = json.loads(ready.read_text())["health_port"]
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except (OSError, ValueError, httpx.HTTPError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"{ready.stem} is not ready: {ready.with_suffix('.log').read_text()}")


@pytest.fixture
def gateway_url(tmp_path: Path) -> Iterator[str]:
    """The gateway of two nodes that share a bus and an object store."""
    with ExitStack() as stack:
        store = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
        store.start()
        stack.callback(store.stop)
        host, port = store.get_host_and_port()
        client: Any = boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.create_bucket(Bucket=BUCKET)
        bus, state = RedisServer(durable=True).start(), RedisServer().start()
        stack.callback(bus.stop)
        stack.callback(state.stop)
        env = CREDENTIALS | {
            "ARCHIVE_BUS_URL": bus.url,
            "ARCHIVE_STATE_URL": state.url,
            "ARCHIVE_BLOBS_URL": f"s3://{BUCKET}/blobs?endpoint=http://{host}:{port}&region=us-east-1",
        }
        door, workers = Node(tmp_path / "door", env), Node(tmp_path / "workers", env)
        stack.callback(workers.stop)
        stack.callback(door.stop)
        gateway_port = free_port()
        models = os.environ.get("ENGINE_MODEL_DIR", str(tmp_path / "workers" / "models"))
        started = [
            door.start("gateway", GATEWAY_PORT=str(gateway_port)),
            workers.start("librarian"),
            workers.start("memory", MEMORY_DIR=str(tmp_path / "workers" / "memory")),
            workers.start("engine", ENGINE_KIND="minilm", ENGINE_POOL="embed", ENGINE_MODEL_DIR=models),
        ]
        for ready in started:
            wait_ready(ready)
        yield f"http://127.0.0.1:{gateway_port}"


def test_upload_on_one_node_is_read_on_the_other(gateway_url: str) -> None:
    with httpx.Client(base_url=gateway_url, timeout=60) as http:
        job_id = http.post("/v1/documents", files={"file": ("almanac.pdf", pdf())}).json()["job_id"]
        job = ended(http, job_id)
        assert job["status"] == "done", job
        found = http.post("/library/search", json={"query": FACTS[0].question, "top_k": 1}).json()
        assert FACTS[0].sentence in found["chunks"][0]["text"]
