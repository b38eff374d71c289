"""Kills what an answer passes through, one after the other, each as a crash would."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator, Sequence
from itertools import cycle

from archive_testkit.system import ArchiveSystem

BACK_S = 60.0
"""A killed process is back by then; until then nothing of its kind is struck."""
KINDS = ("gateway", "engine", "router", "worker", "state", "bus", "gateway", "worker", "engine", "router")
"""The turn: what an answer passes through, servers less often, for each takes the whole system for a moment."""
EVERY_KIND = frozenset(KINDS)


class Engines:
    """Model servers on ports that they keep over their deaths."""

    def __init__(self, count: int) -> None:
        self.ports = [_free_port() for _ in range(count)]
        self._processes: dict[int, Process] = {}

    async def start(self, index: int) -> None:
        """Start one."""
        words = ("-m", "archive_testkit.answers.paced_engine", str(self.ports[index]))
        self._processes[index] = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=DEVNULL, stderr=DEVNULL
        )

    async def kill(self, index: int) -> None:
        """End one as a crash would."""
        self._processes[index].kill()
        await self._processes[index].wait()

    async def stop(self) -> None:
        """End all."""
        for index, process in self._processes.items():
            if process.returncode is None:
                await self.kill(index)

    def listing(self, pool: str) -> str:
        """Return ``engines.yaml``: one worker beside each."""
        entries = [
            {"name": f"paced-{index}", "pool": pool, "base_url": f"http://127.0.0.1:{port}/v1", "slots": 8}
            for index, port in enumerate(self.ports)
        ]
        return json.dumps({"engines": entries})


class Strikes:
    """Strikes in turn, replicas of a kind in turn too.

    ``done`` tells what was struck, and when; ``kinds`` of which kinds one was.
    """

    def __init__(self, system: ArchiveSystem, engines: Engines, *, every_s: float) -> None:
        self._system = system
        self._engines = engines
        self._every_s = every_s
        count = len(engines.ports)
        self._names: dict[str, Iterator[str]] = {
            "gateway": cycle(["gateway", "gateway-2"]),
            "router": cycle(["router", "router-2"]),
            "worker": cycle([f"engine-paced-{index}" for index in range(count)]),
            "engine": cycle([str(index) for index in range(count)]),
            "state": cycle(["state"]),
            "bus": cycle(["bus"]),
        }
        self.done: list[tuple[float, str]] = []
        self.kinds: set[str] = set()
        self._ended = False

    async def run(self) -> None:
        """Strike until told to end."""
        kinds = cycle(KINDS)
        while not self._ended:
            kind = next(kinds)
            await self._strike(kind)
            self.kinds.add(kind)
            await asyncio.sleep(self._every_s)

    def end(self) -> None:
        """Strike no more: what was struck comes back."""
        self._ended = True

    async def _strike(self, kind: str) -> None:
        name = next(self._names[kind])
        if kind == "engine":
            index = int(name)
            await self._engines.kill(index)
            self.done.append((time.monotonic(), f"engine {index}"))
            await asyncio.sleep(0.5)
            await self._engines.start(index)
            return
        await self.wait_ready(self._kin(kind))
        os.kill(self._system.pid_of(name), signal.SIGKILL)
        self.done.append((time.monotonic(), name))

    async def wait_ready(self, names: Sequence[str]) -> None:
        """Wait until these processes are ready. Raises TimeoutError."""
        async with asyncio.timeout(BACK_S):
            while not self._ready(names):  # noqa: ASYNC110 - run.json is written by another process
                await asyncio.sleep(0.1)

    def _kin(self, kind: str) -> list[str]:
        match kind:
            case "worker":
                return [f"engine-paced-{index}" for index in range(len(self._engines.ports))]
            case "gateway" | "router":
                return [kind, f"{kind}-2"]
            case _:
                return [kind]

    def _ready(self, names: Sequence[str]) -> bool:
        try:
            states = {each["name"]: each["state"] for each in self._system.run_info["processes"]}
        except (OSError, ValueError):
            return False
        return all(states.get(name) == "ready" for name in names)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
