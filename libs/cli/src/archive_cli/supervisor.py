"""Keeps the processes of a plan running, and ends them in good order."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from archive_cli.backoff import Backoff, count_deaths
from archive_cli.child import Child, describe_exit
from archive_cli.errors import StartError
from archive_cli.home import Home, is_full
from archive_cli.plan import Process, stop_order
from archive_cli.report import Report
from archive_cli.runinfo import ProcessInfo, ProcessState

UNUSABLE = 2
"""Exit code of a service whose environment is wrong: another start would end the same way."""

_LIVENESS_S = 10.0
_OVERTIME_S = 5.0
_STRIKES = 4


@dataclass(slots=True, eq=False)
class _Kept:
    """A process the supervisor has taken on, over all its restarts."""

    plan: Process
    state: ProcessState = "starting"
    child: Child | None = None
    restarts: int = 0
    problem: str = ""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    retired: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class _Death:
    """How one life of a process ended; the last lines only of one that had not become ready."""

    code: int
    lived_s: float
    last_lines: tuple[str, ...]


class Supervisor:
    """Runs processes inside a task group: enter it, `start` plans, leave it to drain all.

    `changed` is set whenever a process came, went or moved its port.
    """

    def __init__(
        self,
        *,
        home: Home,
        report: Report,
        env: Mapping[str, str],
        grace_s: float = 20.0,
        backoff: Backoff | None = None,
    ) -> None:
        self._home = home
        self._report = report
        self._env = env
        self._grace_s = grace_s
        self._backoff = backoff or Backoff()
        self._kept: dict[str, _Kept] = {}
        self._tasks = asyncio.TaskGroup()
        self.changed = asyncio.Event()

    async def __aenter__(self) -> "Supervisor":
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        # Shielded in effect: children must be ended whatever brought us here.
        await self.drain()
        await self._tasks.__aexit__(None, None, None)

    @property
    def processes(self) -> tuple[ProcessInfo, ...]:
        """What is known of every process now."""
        return tuple(_info(kept) for kept in self._kept.values())

    def start(self, plan: Process) -> None:
        """Take a process on; it is started now and again whenever it dies."""
        kept = _Kept(plan)
        self._kept[plan.name] = kept
        self._tasks.create_task(self._keep(kept), name=plan.name)

    async def wait_ready(self, names: Sequence[str], *, timeout_s: float) -> None:
        """Wait until all of these have been ready once.

        Raises:
            StartError: one cannot become ready, or not in time; says which and why.
        """
        waits = [asyncio.ensure_future(self._wait_one(self._kept[name])) for name in names]
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*waits)
        except TimeoutError:
            late = [name for name in names if not self._kept[name].ready.is_set()]
            for name in late:
                await self._explain(self._kept[name])
            raise StartError(
                f"Not ready after {timeout_s:g} s: {', '.join(late)}.",
                code="start_timeout",
                next_step=f"read the reasons above, and `archive logs {late[0] if late else ''}`",
            ) from None
        finally:
            for wait in waits:
                wait.cancel()

    async def retire(self, name: str) -> None:
        """End one process for good."""
        kept = self._kept.pop(name)
        await self._end(kept)
        self.changed.set()

    async def drain(self) -> None:
        """End all: callers first, the servers that hold the messages last."""
        for group in stop_order(kept.plan for kept in self._kept.values()):
            await asyncio.gather(*(self._end(self._kept[plan.name]) for plan in group))

    def kill(self) -> None:
        """End all at once."""
        for kept in self._kept.values():
            kept.retired.set()
            if kept.child is not None:
                kept.child.kill()

    async def _end(self, kept: _Kept) -> None:
        kept.retired.set()
        if kept.child is not None:
            kept.child.terminate()
        try:
            async with asyncio.timeout(self._grace_s + _OVERTIME_S):
                await kept.gone.wait()
        except TimeoutError:
            self._report.process(kept.plan.name, "killed", f"did not end within {self._grace_s + _OVERTIME_S:g} s")
            if kept.child is not None:
                kept.child.kill()
            await kept.gone.wait()
        kept.state = "stopped"
        self.changed.set()

    async def _keep(self, kept: _Kept) -> None:
        deaths = 0
        try:
            while not kept.retired.is_set():
                death = await self._live(kept)
                if kept.retired.is_set():
                    return
                if death.code == UNUSABLE and not kept.ready.is_set():
                    self._give_up(kept, death)
                    return
                deaths = count_deaths(deaths, lived_s=death.lived_s)
                await self._pause(kept, death, deaths=deaths)
        finally:
            kept.gone.set()

    async def _live(self, kept: _Kept) -> _Death:
        """Run the process once, from its start to its death."""
        kept.state = "starting"
        try:
            kept.child = child = await Child.start(kept.plan, logs=self._home.logs, env=self._env)
        except OSError as error:
            return _Death(1, 0.0, (f"cannot be started: {error.strerror}",))
        if kept.retired.is_set():
            child.terminate()
        self.changed.set()
        watcher = self._tasks.create_task(self._watch(kept, child))
        code = await child.wait()
        watcher.cancel()
        kept.child = None
        return _Death(code, child.lived_s, () if child.was_ready else tuple(child.last_lines()))

    def _give_up(self, kept: _Kept, death: _Death) -> None:
        kept.state, kept.problem = "failed", f"{describe_exit(death.code)} before it was ready"
        self._report.process(kept.plan.name, "failed", kept.problem, death.last_lines)
        kept.ready.set()
        self.changed.set()

    async def _watch(self, kept: _Kept, child: Child) -> None:
        """Say when it is ready; later, end it when it says that only a restart helps."""
        await child.wait_ready()
        kept.state, kept.problem = "ready", ""
        kept.ready.set()
        self._report.process(kept.plan.name, "ready", f"{child.lived_s:.1f} s")
        self.changed.set()
        strikes = 0
        while True:
            await asyncio.sleep(_LIVENESS_S)
            strikes = strikes + 1 if await child.stuck() else 0
            if strikes >= _STRIKES and not kept.retired.is_set():
                self._report.process(kept.plan.name, "stuck", "does not make progress, is ended")
                child.kill()

    async def _pause(self, kept: _Kept, death: _Death, *, deaths: int) -> None:
        delay = self._backoff.delay(deaths, jitter=random.random())  # noqa: S311 - spreads restarts, protects nothing
        ended = describe_exit(death.code)
        if is_full(self._home.path):
            ended += f"; no space left in {self._home.path}: free some, it goes on by itself"
        kept.state, kept.problem = "waiting", ended
        kept.restarts += 1
        self._report.process(kept.plan.name, "died", f"{ended}; started again in {delay:.1f} s", death.last_lines)
        self.changed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await kept.retired.wait()

    async def _wait_one(self, kept: _Kept) -> None:
        await kept.ready.wait()
        if kept.state == "failed":
            raise StartError(
                f"{kept.plan.name} cannot start: {kept.problem}.",
                code="start_failed",
                next_step=f"read its last lines above, and `archive logs {kept.plan.name}`",
            )

    async def _explain(self, kept: _Kept) -> None:
        child = kept.child
        if child is None:
            self._report.process(kept.plan.name, "failed", kept.problem)
        else:
            self._report.process(kept.plan.name, "late", await child.complaint(), child.last_lines())


def _info(kept: _Kept) -> ProcessInfo:
    child = kept.child
    return ProcessInfo(
        name=kept.plan.name,
        service=kept.plan.service,
        pid=child.pid if child else 0,
        port=kept.plan.port,
        health_port=child.health_port if child else 0,
        state=kept.state,
        restarts=kept.restarts,
        problem=kept.problem,
    )
