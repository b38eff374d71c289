"""Does to processes, connections and server what the schedule says, and notes it."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# redis-py leaves its replies without types.

import asyncio
import contextlib
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from archive_bus import open_client
from archive_testkit.chaos.history import Recorder, What
from archive_testkit.chaos.schedule import Fault, Step
from archive_testkit.chaos.work import GROUP, keys
from archive_testkit.proxy import TcpProxy
from archive_testkit.servers import RedisServer

RESPAWN_S = 0.3
PATIENCE_S = 300.0


class Member:
    """One process of the run with its own way to the server; a new life has a new name."""

    def __init__(self, role: str, *, folder: Path, proxy: TcpProxy, words: Sequence[str] = ()) -> None:
        self._role = role
        self._folder = folder
        self._words = words
        self._lives = 0
        self.proxy = proxy
        self.process: Process | None = None

    @property
    def who(self) -> str:
        """The name of its present life."""
        return f"{self._role}.{self._lives}"

    async def spawn(self) -> None:
        """Begin a new life, and wait until it has noted its first tick: it can be terminated in order from then on."""
        self._lives += 1
        module = f"archive_testkit.chaos.{self._role.partition('-')[0]}"
        with (self._folder / f"{self.who}.err").open("wb") as errors:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, self.who, self.proxy.url, str(self._folder), *self._words),
                stderr=errors,
            )
        async with asyncio.timeout(PATIENCE_S):
            while not (self._folder / f"{self.who}.log").exists():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.process and self.process.returncode is None:
            self.process.send_signal(number)


class Nemesis:
    """Strikes one step after another."""

    def __init__(
        self, *, server: RedisServer, workers: Sequence[Member], publisher: Member, notes: Recorder, client: Any
    ) -> None:
        self._server = server
        self._workers = workers
        self._publisher = publisher
        self._notes = notes
        self._client = client

    async def run(self, steps: Sequence[Step], *, seconds: float) -> None:
        """Follow the schedule as far as the time goes; a step that comes late puts all that follow off.

        On a busy machine faults would else come at once, and what is to survive a fault would have to survive five.
        """
        began, late_s = time.monotonic(), 0.0
        for step in steps:
            ahead_s = began + step.at_s + late_s - time.monotonic()
            late_s += max(0.0, -ahead_s)
            if step.at_s + step.lasts_s + late_s > seconds:
                return
            await asyncio.sleep(max(0.0, ahead_s))
            await self._strike(step)

    async def _strike(self, step: Step) -> None:
        worker = self._workers[step.worker]
        if step.fault not in {Fault.KILL_WORKER, Fault.TERMINATE_WORKER}:
            self._notes.note(What.FAULT, detail=f"{step.fault} {step.worker} {step.lasts_s:g}")
        match step.fault:
            case Fault.KILL_WORKER:
                await self.end(worker, signal.SIGKILL)
                await asyncio.sleep(RESPAWN_S)
                await worker.spawn()
            case Fault.TERMINATE_WORKER:
                await self.end(worker, signal.SIGTERM)
                await worker.spawn()
            case Fault.FREEZE_WORKER | Fault.PAUSE_WORKER:
                worker.signal(signal.SIGSTOP)
                await asyncio.sleep(step.lasts_s)
                worker.signal(signal.SIGCONT)
            case Fault.CUT_WORKER:
                worker.proxy.cut()
            case Fault.CUT_PUBLISHER:
                self._publisher.proxy.cut()
            case Fault.SURGE:
                self._publisher.signal(signal.SIGUSR1)
            case Fault.ISOLATE_WORKER | Fault.ISOLATE_PUBLISHER:
                await self._isolate(worker if step.fault is Fault.ISOLATE_WORKER else self._publisher, step.lasts_s)
            case Fault.KILL_SERVER | Fault.DELETE_GROUP | Fault.DELETE_STREAM | Fault.FILL_MEMORY:
                await self._strike_server(step)

    async def end(self, member: Member, number: signal.Signals) -> None:
        """End a process by a signal and note how it ended."""
        if member.process is None:
            return
        self._notes.note(What.DIED, who=member.who, detail=number.name)
        member.signal(number)
        async with asyncio.timeout(PATIENCE_S):
            code = await member.process.wait()
        self._notes.note(What.EXIT, who=member.who, detail=str(code))

    async def _isolate(self, member: Member, seconds: float) -> None:
        member.proxy.swallow()
        await asyncio.sleep(seconds)
        member.proxy.heal()

    async def _strike_server(self, step: Step) -> None:
        match step.fault:
            case Fault.KILL_SERVER:
                await asyncio.to_thread(self._server.kill)
                await asyncio.sleep(step.lasts_s)
                await asyncio.to_thread(self._server.start)
            case Fault.FILL_MEMORY:
                await self._client.config_set("maxmemory", 1)
                await asyncio.sleep(step.lasts_s)
                await self._client.config_set("maxmemory", 0)
            case Fault.DELETE_GROUP:
                since = time.monotonic()
                with contextlib.suppress(ResponseError):  # the stream may have been deleted a moment ago
                    await self._client.xgroup_destroy(keys()[step.worker], GROUP)
                self._notes.note(What.GONE, since=since, detail="group")
            case _:
                await self._delete_stream(keys()[step.worker])

    async def _delete_stream(self, key: str) -> None:
        since = time.monotonic()
        # One transaction: what is written down as taken is exactly what went.
        pipe = self._client.pipeline(transaction=True)
        pipe.xrange(key)
        pipe.delete(key)
        entries, _ = await pipe.execute()
        took = tuple(fields[b"id"].decode() for _, fields in entries)
        self._notes.note(What.GONE, since=since, detail="stream", took=took)


def client_of(server: RedisServer) -> Any:
    """Return a client of the server that no proxy stands before."""
    return open_client(server.url)
