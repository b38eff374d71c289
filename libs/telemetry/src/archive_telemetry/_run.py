"""The life of a service process: start, wait, drain, exit code."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from archive_telemetry._app import App
from archive_telemetry._errors import SettingError, TelemetryError
from archive_telemetry._http import serve
from archive_telemetry._logs import adopt_loggers, configure_logs, get_logger, log_context
from archive_telemetry._memory import settle
from archive_telemetry._meters import configure_meters
from archive_telemetry._probes import Probes, Running
from archive_telemetry._redaction import Redactor
from archive_telemetry._settings import EdgeSettings
from archive_telemetry._traces import configure_traces, service_scope

# Beyond the grace: closing the loop, joining its threads, the last spans.
_OVERTIME_S = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
UNUSABLE = 2
"""Exit code of a process whose environment has to be changed before it can run."""


def run(app: App) -> NoReturn:
    """Run one service until SIGTERM or SIGINT.

    The process exits with 0 after a drain that fitted into the grace time, with 1 after a failure, with 2 when
    its environment is unusable. A second signal ends it at once.
    """
    run_all([app], name=app.name)


def run_all(
    apps: Sequence[App], *, name: str = "all-in-one", host: str | None = None, port: int | None = None
) -> NoReturn:
    """Run several services in one process; the failure of one drains the others and exits with 1.

    There is one health port, that of the first app unless told; `/readyz` lists the checks of all of them.
    """
    try:
        settings = EdgeSettings.from_env()
    except TelemetryError as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.exit(UNUSABLE)
    redactor = Redactor.from_env()
    configure_logs(settings, redactor)
    traces = configure_traces(export=settings.trace_export)
    meters = configure_meters(name, export=settings.metric_export)
    process = _Process(
        name=name,
        entries=_entries(apps),
        settings=settings,
        redactor=redactor,
        address=(apps[0].health_host if host is None else host, apps[0].health_port if port is None else port),
    )
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            clean = runner.run(process.main())
    except TelemetryError as error:
        get_logger(name).error("cannot start", error=error.message, code=error.code, next_step=error.next_step)
        clean = False
    if not meters():
        get_logger(name).warning("metrics were lost, the collector did not answer in time")
    if not traces.shutdown():
        get_logger(name).warning("spans were lost, the collector did not answer in time")
    sys.exit(0 if clean else 1)


class _Process:
    def __init__(
        self,
        *,
        name: str,
        entries: Sequence[Running],
        settings: EdgeSettings,
        redactor: Redactor,
        address: tuple[str, int],
    ) -> None:
        self._name = name
        self._entries = entries
        self._settings = settings
        self._address = address
        self._probes = Probes(name=name, apps=entries, redactor=redactor)
        self._log = get_logger(name).bind(service=name)
        self._stop = asyncio.Event()
        self._limits: dict[str, asyncio.Timeout] = {}
        self._port = 0
        self._clean = True

    async def main(self) -> bool:
        """Return whether every service ended because it was told to, inside the grace time."""
        host, port = self._address
        with self._signals():
            async with serve(self._probes.routes(), host=host, port=port) as self._port:
                self._write_ready_file()
                async with asyncio.TaskGroup() as tasks:
                    for entry in self._entries:
                        tasks.create_task(self._host(entry), name=entry.label)
        self._log.info("stopped", clean=self._clean)
        return self._clean

    async def _host(self, entry: Running) -> None:
        """Keep one service inside its lifespan until the process is to stop.

        Its failure is logged under its name and stops the others; it never cancels them, so that they drain.
        """
        name = entry.app.name
        limit = asyncio.timeout(None)
        with log_context(service=name), service_scope(name):
            log = get_logger(name)
            try:
                async with limit:
                    self._limits[entry.label] = limit
                    await self._live(entry)
                if not self._stop.is_set():
                    self._clean = False
                    log.error("the service ended without being asked to")
            except Exception as error:  # an edge: a service may fail in any way, and the others are to drain
                if not limit.expired():
                    self._clean = False
                    log.exception("the service failed")
                elif entry.phase == "draining":
                    self._clean = False
                    # The trace would be that of the deadline, not of what held it up.
                    log.error("the drain took too long", grace_s=self._settings.grace_s, error=repr(error))  # noqa: TRY400
                else:
                    log.info("stopped while starting")
            finally:
                del self._limits[entry.label]
                entry.phase = "ended"
                self._request_stop(f"{name} ended")

    async def _live(self, entry: Running) -> None:
        if self._stop.is_set():
            return
        async with entry.app.lifespan():
            entry.phase = "running"
            if all(other.phase == "running" for other in self._entries):
                self._log.info("started", health_port=self._port, pid=os.getpid())
                adopt_loggers()
                settle()
            await self._stop.wait()
            entry.phase = "draining"

    def _request_stop(self, reason: str) -> None:
        """Let every service drain inside the grace time; one that is still starting has nothing to drain."""
        if self._stop.is_set():
            return
        self._log.info("stopping", reason=reason, grace_s=self._settings.grace_s)
        self._stop.set()
        now = asyncio.get_running_loop().time()
        for entry in self._entries:
            limit = self._limits.get(entry.label)
            if limit is not None:
                limit.reschedule(now if entry.phase == "starting" else now + self._settings.grace_s)
        _exit_at_last(self._settings.grace_s + _OVERTIME_S)

    @contextmanager
    def _signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()

        def stop(number: signal.Signals) -> None:
            # From here on the kernel's default applies: a second signal ends even a process whose loop is stuck.
            for other in _SIGNALS:
                loop.remove_signal_handler(other)
                signal.signal(other, signal.SIG_DFL)
            self._request_stop(number.name)

        for number in _SIGNALS:
            loop.add_signal_handler(number, stop, number)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _write_ready_file(self) -> None:
        """Tell the supervisor the port, in one piece: it may look at any moment."""
        target = self._settings.ready_file
        if target is None:
            return
        known = {"name": self._name, "pid": os.getpid(), "health_port": self._port}
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            part.write_text(json.dumps(known), encoding="utf-8")
            part.replace(target)
        except OSError as error:
            raise SettingError(
                f"ARCHIVE_READY_FILE {target} cannot be written: {error.strerror}",
                next_step="name a file in a folder this process may write to",
            ) from error


def _entries(apps: Sequence[App]) -> list[Running]:
    """Label the services; one that runs twice in a process, such as two engine workers, gets a number."""
    seen: Counter[str] = Counter()
    entries: list[Running] = []
    for app in apps:
        seen[app.name] += 1
        entries.append(Running(app, label=app.name if seen[app.name] == 1 else f"{app.name}-{seen[app.name]}"))
    return entries


def _exit_at_last(seconds: float) -> None:
    """End the process even if a thread or a stuck loop keeps it from ending by itself."""
    watchdog = threading.Timer(seconds, os._exit, args=(1,))
    watchdog.daemon = True
    watchdog.start()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows, where there is none
        return None
    return uvloop.new_event_loop
