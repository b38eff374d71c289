"""A master, its replicas and the sentinel that replaces it, on loopback."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from redis import Redis
from redis.exceptions import RedisError

from archive_testkit.servers import NoServer, RedisServer, free_port

MASTER = "archive"
READY_S = 20.0
CONFIG = """\
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {master} 127.0.0.1 {master_port} 1
sentinel down-after-milliseconds {master} 800
sentinel failover-timeout {master} 4000
sentinel parallel-syncs {master} 2
"""


class WatchedServers:
    """Three servers and one sentinel. Enter it to start them; ``kill_master`` has the sentinel choose another."""

    def __init__(self, *, binary: str | None = None) -> None:
        self.master = RedisServer(binary=binary, durable=True)
        place = ("--replicaof", f"127.0.0.1 {self.master.port}", "--repl-diskless-sync-delay", "0")
        self.replicas = [RedisServer(binary=binary, durable=True, options=place) for _ in range(2)]
        self._port = free_port()
        self._sentinel: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for clients, which asks that what is accepted survives the loss of the master."""
        return f"sentinel://127.0.0.1:{self._port}/{MASTER}?durability=replicated"

    def __enter__(self) -> Self:
        for server in (self.master, *self.replicas):
            server.start()
        self._await("the replicas are connected", self._replicated)
        folder = Path(self.master.folder)
        config = folder / "sentinel.conf"
        config.write_text(CONFIG.format(port=self._port, folder=folder, master=MASTER, master_port=self.master.port))
        self._sentinel = subprocess.Popen(
            [self.master.binary, str(config), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._await("the sentinel knows the replicas", self._watched)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sentinel:
            self._sentinel.terminate()
            self._sentinel.wait(10)
        for server in (*self.replicas, self.master):
            server.stop()

    def cut_replication(self) -> None:
        """Let the replicas hear nothing more of the master; the sentinel would mend that after eight seconds."""
        nowhere = free_port()
        for server in self.replicas:
            with Redis(port=server.port) as client:
                client.execute_command("REPLICAOF", "127.0.0.1", nowhere)  # pyright: ignore[reportUnknownMemberType] - untyped

    def kill_master(self) -> None:
        """End the master as a power cut would; the sentinel notices within a second or two."""
        self.master.kill()

    def _replicated(self) -> bool:
        with Redis(port=self.master.port) as client:
            told: dict[str, object] = client.info("replication")  # pyright: ignore[reportAssignmentType, reportUnknownMemberType] - untyped
            return all(f"slave{n}" in told and "state=online" in _text(told[f"slave{n}"]) for n in (0, 1))

    def _watched(self) -> bool:
        with Redis(port=self._port) as client:
            rows = cast("list[Any]", client.execute_command("SENTINEL", "REPLICAS", MASTER))  # pyright: ignore[reportUnknownMemberType] - untyped
            return len(rows) == 2

    def _await(self, what: str, true: Callable[[], bool]) -> None:
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            try:
                if true():
                    return
            except (RedisError, OSError):
                pass
            time.sleep(0.05)
        raise NoServer(f"{what}: not within {READY_S:g} s")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={each}" for name, each in value.items())  # pyright: ignore[reportUnknownVariableType]
    return str(value)
