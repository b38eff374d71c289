"""The whole system on one machine: chooses addresses, starts everything, tells where it is, ends it."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from archive_cli import __version__
from archive_cli.child import rotate
from archive_cli.engine_list import EngineEntry, difference
from archive_cli.engine_store import key_of, load
from archive_cli.errors import CliError, PortTakenError, UsageError
from archive_cli.find import hint
from archive_cli.home import Home
from archive_cli.plan import Choice, Process, Site, Wave, added_engine, inherited, system
from archive_cli.ports import Reservation, reserve
from archive_cli.report import Report
from archive_cli.runinfo import RunInfo, State
from archive_cli.supervisor import Supervisor
from archive_cli.valkey import Role, Server, new_server
from archive_finding import find_engines

_POLL_S = 1.0
_GRACE_S = 20.0
CONSOLE_PORT = 8090


@dataclass(slots=True)
class Addresses:
    """Ports held for this run, and the servers behind them; a server given by URL is not started."""

    gateway: Reservation
    console: Reservation
    model: Reservation
    servers: list[Server] = field(default_factory=list[Server])
    held: list[Reservation] = field(default_factory=list[Reservation])

    def release(self) -> None:
        """Give every port back."""
        for reservation in (self.gateway, self.console, self.model, *self.held):
            reservation.release()


class System:
    """One run of everything."""

    def __init__(
        self, *, home: Home, choice: Choice, report: Report, env: Mapping[str, str], find: bool = False
    ) -> None:
        self._find = find
        self._home = home
        self._choice = choice
        self._report = report
        self._env = {"MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1", "ARCHIVE_LOG_FORMAT": "text"} | inherited(env)
        # Each home would build the embedder again; one built at set-up may serve all of them.
        self._env.setdefault("ENGINE_MODEL_DIR", str(home.models))
        self._started_at = time.time()
        self._state: State = "starting"
        self._signals = 0
        self._stop = asyncio.Event()

    async def run(self, *, timeout_s: float) -> RunInfo:
        """Start everything and keep it running until a signal; the data folder's lock must be held.

        Return what was running, once all has ended. `started` is told through the report and the run file.

        Raises:
            CliError: something could not be started; what had been started is ended.
        """
        rotate(self._home.logs)
        addresses = self._choose_addresses()
        site = self._site(addresses)
        supervisor = Supervisor(home=self._home, report=self._report, env=self._env, grace_s=_GRACE_S)
        try:
            with self._listen(supervisor):
                async with supervisor:
                    await self._work(supervisor, addresses, site, timeout_s=timeout_s)
                    self._state = "draining"
                    self._write(supervisor, site)
                    self._report.say("Draining: callers first, then those they call. Ctrl-C again ends all at once.")
            return self._info(supervisor, site)
        finally:
            addresses.release()
            self._home.run_file.unlink(missing_ok=True)

    async def _work(self, supervisor: Supervisor, addresses: Addresses, site: Site, *, timeout_s: float) -> None:
        """Start, then watch, until told to stop."""
        self._write(supervisor, site)
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write_changes(supervisor, site))
            starting = tasks.create_task(self._start(supervisor, addresses, site, timeout_s=timeout_s))
            await self._stop.wait()
            starting.cancel()
            writer.cancel()

    async def _start(self, supervisor: Supervisor, addresses: Addresses, site: Site, *, timeout_s: float) -> None:
        stores = [_store(server) for server in addresses.servers]
        for store in stores:
            supervisor.start(store)
        # Everything else would only log that it cannot connect.
        await supervisor.wait_ready([store.name for store in stores], timeout_s=timeout_s)
        plans = system(self._choice, site)
        for plan in plans:
            supervisor.start(plan)
        await supervisor.wait_ready([plan.name for plan in plans], timeout_s=timeout_s)
        self._state = "ready"
        supervisor.changed.set()
        await self._follow_engines(supervisor, site)

    async def _follow_engines(self, supervisor: Supervisor, site: Site) -> None:
        """Keep one worker beside each engine that the person listed, without a restart of anything."""
        running: dict[str, EngineEntry] = {}
        seen = -1.0
        while True:
            stamp = _modified(self._home)
            if stamp != seen:
                seen = stamp
                await self._apply_engines(supervisor, site, running)
            await asyncio.sleep(_POLL_S)

    async def _apply_engines(self, supervisor: Supervisor, site: Site, running: dict[str, EngineEntry]) -> None:
        try:
            wanted = load(self._home).engines
        except UsageError as error:
            self._report.process("engines.yaml", "ignored", str(error))
            return
        change = difference(running.values(), wanted)
        for entry in change.stop:
            self._report.process(f"engine-{entry.name}", "removed", entry.base_url)
            await supervisor.retire(f"engine-{entry.name}")
            del running[entry.name]
        for entry in change.start:
            self._report.process(f"engine-{entry.name}", "added", entry.base_url)
            key = key_of(self._home, entry, os.environ)
            supervisor.start(added_engine(entry, choice=self._choice, site=site, key=key))
            running[entry.name] = entry

    async def _write_changes(self, supervisor: Supervisor, site: Site) -> None:
        told = False
        while True:
            await supervisor.changed.wait()
            supervisor.changed.clear()
            self._write(supervisor, site)
            if self._state == "ready" and not told:
                told = True
                await self._welcome(self._info(supervisor, site))
            # Many processes change at once; one write tells of all of them.
            await asyncio.sleep(0.05)

    async def _welcome(self, info: RunInfo) -> None:
        self._report.result(
            {"state": "ready", "url": info.url, "page": info.console_url, "home": info.home, "pid": info.pid}
        )
        for line in welcome(info, took_s=time.time() - self._started_at, model=self._choice.model):
            self._report.say(line)
        if self._find:
            own = {process.port for process in info.processes}
            for found in await find_engines(own_ports=own):
                self._report.say(hint(found, command_name()))

    def _choose_addresses(self) -> Addresses:
        choice = self._choice
        gateway = reserve(choice.host, choice.port, purpose="gateway", option="--port N")
        model = reserve("127.0.0.1", choice.ports.get("model", 0), purpose="model server", option="--ports model=N")
        addresses = Addresses(gateway, self._console_port(), model)
        wanted: tuple[tuple[Role, str], ...] = (("bus", "ARCHIVE_BUS_URL"), ("state", "ARCHIVE_STATE_URL"))
        for role, variable in wanted:
            if self._env.get(variable):
                continue
            held = reserve("127.0.0.1", choice.ports.get(role, 0), purpose=f"{role} server", option=f"--ports {role}=N")
            server = new_server(role, port=held.port, folder=self._home.path / role)
            server.write()
            addresses.held.append(held)
            addresses.servers.append(server)
        return addresses

    def _console_port(self) -> Reservation:
        """Hold the page's port: the one asked for, else the usual one while it is free."""
        host, asked = self._choice.host, self._choice.ports.get("console")
        if asked is None and self._choice.port:
            with suppress(PortTakenError):
                return reserve(host, CONSOLE_PORT, purpose="console", option="--ports console=N")
        return reserve(host, asked or 0, purpose="console", option="--ports console=N")

    def _site(self, addresses: Addresses) -> Site:
        urls = {server.role: server.url for server in addresses.servers}
        own = {server.role: server.urls for server in addresses.servers}
        return Site(
            home=self._home.path,
            python=sys.executable,
            bus_url=urls.get("bus") or self._env["ARCHIVE_BUS_URL"],
            state_url=urls.get("state") or self._env["ARCHIVE_STATE_URL"],
            bus_urls=own.get("bus", {}),
            state_urls=own.get("state", {}),
            blobs_url=self._env.get("ARCHIVE_BLOBS_URL") or (self._home.path / "blobs").as_uri(),
            gateway_port=addresses.gateway.port,
            console_port=addresses.console.port,
            model_port=addresses.model.port,
            grace_s=_GRACE_S,
        )

    def _info(self, supervisor: Supervisor, site: Site) -> RunInfo:
        host = self._choice.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound
        doors = {"gateway": site.gateway_port, "all-in-one": site.gateway_port, "console": site.console_port}
        return RunInfo(
            version=__version__,
            pid=os.getpid(),
            state=self._state,
            started_at=self._started_at,
            home=str(self._home.path),
            url=f"http://{shown}:{site.gateway_port}",
            console_url=f"http://{shown}:{site.console_port}",
            bus_url=site.bus_url,
            state_url=site.state_url,
            blobs_url=site.blobs_url,
            all_in_one=self._choice.all_in_one,
            processes=tuple(
                replace(process, port=doors[process.service]) if process.service in doors else process
                for process in supervisor.processes
            ),
        )

    def _write(self, supervisor: Supervisor, site: Site) -> None:
        try:
            self._home.write_run(self._info(supervisor, site))
        except OSError as error:
            # A full disk must not end what still runs: `status` shows the last state until there is room.
            self._report.process("run.json", "unwritten", error.strerror or str(error))

    @contextmanager
    def _listen(self, supervisor: Supervisor) -> Generator[None]:
        """Drain on the first signal, end at once on the second."""

        def stop() -> None:
            self._signals += 1
            self._stop.set()
            if self._signals > 1:
                supervisor.kill()

        loop = asyncio.get_running_loop()
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in wanted:
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in wanted:
                loop.remove_signal_handler(number)


def welcome(info: RunInfo, *, took_s: float, model: bool = True) -> list[str]:
    """Return what to tell once everything is ready: addresses, and the next thing to try."""
    command = command_name()
    return [
        "",
        f"Archive-AI is ready ({took_s:.1f} s).",
        f"  page     {info.console_url}   chat, documents, and what goes on inside",
        f"  API      {info.url}/v1   for any OpenAI client; also {info.url}/research, /library/search, /chat",
        f"  data     {info.home}",
        f"  drop     {info.home}/Library-Drop   files put here are ingested",
        "",
        "Try, in another terminal:",
        f"  {command} ingest FILE.pdf",
        f'  {command} ask "What does it say about ...?"',
        f'  {command} chat -m "Hello"' if model else f"  {command} engines find",
        "Ctrl-C ends everything.",
    ]


def command_name() -> str:
    """Return how the person calls this command."""
    return os.path.relpath(sys.argv[0]) if Path(sys.argv[0]).name == "archive" else "archive"


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure to tell the person: one of ours before any other."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(reversed(error.exceptions))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        else:
            leaves.append(error)
    return next((error for error in leaves if isinstance(error, CliError)), leaves[0])


def _store(server: Server) -> Process:
    return Process(name=server.role, service="valkey", wave=Wave.STORE, command=server.command(), port=server.port)


def _modified(home: Home) -> float:
    with suppress(OSError):
        return home.engines_file.stat().st_mtime
    return 0.0
