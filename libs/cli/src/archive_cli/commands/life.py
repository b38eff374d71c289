"""up, down, status, logs, version: the life of the system on this machine."""

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from archive_cli import __version__
from archive_cli.commands._options import HIGHEST_PORT, Verbs, api_key, home_of, home_option, port, running, verb
from archive_cli.commands.bus import stream_table
from archive_cli.commands.engines import engine_table
from archive_cli.console import Console
from archive_cli.engine_list import BUNDLED_POOL
from archive_cli.errors import CliError, NotRunningError, StartError, UsageError

if TYPE_CHECKING:
    from archive_cli.home import Home
    from archive_cli.plan import Choice
    from archive_cli.runinfo import RunInfo

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_DOWN_S = 90.0


def add(verbs: Verbs) -> None:
    """Add these verbs."""
    up = verb(verbs, "up", run_up, about="Start everything and keep it running until Ctrl-C.", options=[home_option()])
    up.add_argument("--host", default="127.0.0.1", help="address the gateway listens on (beyond loopback: with a key)")
    up.add_argument("--port", type=port, default=8080, help="port of the gateway; 0 picks a free one (default 8080)")
    up.add_argument(
        "--ports", nargs="+", default=[], metavar="NAME=N", help="ports of bus, state, model, and health ports by name"
    )
    up.add_argument(
        "--scale", nargs="+", default=[], metavar="NAME=N", help="replicas, such as gateway=2 router=2 engine=3"
    )
    up.add_argument("--all-in-one", action="store_true", help="all services in one process, for small machines")
    up.add_argument("--no-model", action="store_true", help="do not start the bundled model server")
    up.add_argument("--no-find", action="store_true", help="do not look for model servers of other programs")
    up.add_argument("--detach", action="store_true", help="return when ready; `archive down` ends it")
    up.add_argument("--wait", type=float, default=180.0, metavar="S", help="longest start, seconds (default 180)")
    down = verb(verbs, "down", run_down, about="Drain and end what runs on the data folder.", options=[home_option()])
    down.add_argument("--now", action="store_true", help="end all at once, without draining")
    verb(
        verbs,
        "status",
        run_status,
        about="Show services, streams, engines, documents and memory used.",
        options=[home_option()],
    )
    logs = verb(verbs, "logs", run_logs, about="Show the logs of the processes.", options=[home_option()])
    logs.add_argument("name", nargs="?", default="", help="one process, such as router; all when left out")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as they grow")
    logs.add_argument("-n", "--lines", type=int, default=20, help="lines of each to begin with (default 20)")
    verb(verbs, "version", run_version, about="Show the version.")


def run_up(args: argparse.Namespace, console: Console) -> int:
    """Start everything; a second start on the same folder finds the first."""
    from archive_cli.plan import check

    choice = choice_of(args)
    check(choice)
    if choice.host not in _LOOPBACK and not os.environ.get("GATEWAY_API_KEY"):
        raise UsageError(
            f"Listening on {choice.host} lets others in.",
            code="key_needed",
            next_step="set GATEWAY_API_KEY to a key that callers must show",
        )
    home = home_of(args)
    home.prepare()
    if args.detach:
        return _detach(args, home, console)
    while True:
        with home.lock() as own:
            if own:
                return _serve(args, choice, home)
        info = _await_ready(home, timeout_s=args.wait)
        if info is not None:
            return _tell_found(info, console)


def run_down(args: argparse.Namespace, console: Console) -> int:
    """Ask the supervisor to end, and wait until it has."""
    home = home_of(args)
    info = running(args)
    os.kill(info.pid, signal.SIGTERM)
    if args.now:
        time.sleep(0.2)
        os.kill(info.pid, signal.SIGTERM)
    until = time.monotonic() + _DOWN_S
    while home.running:
        if time.monotonic() > until:
            raise CliError(
                f"Still draining after {_DOWN_S:g} s.", code="slow_drain", next_step="archive down --now ends it"
            )
        time.sleep(0.1)
    console.json({"state": "stopped", "home": info.home})
    console.text(f"Stopped. The data stays in {info.home}.")
    return 0


def run_status(args: argparse.Namespace, console: Console) -> int:
    """Show the state of everything; exit 1 when something is not as it should be."""
    from archive_cli.status import collect_status

    found = collect_status(running(args), key=api_key())
    console.json(found)
    if not console.as_json:
        _show_status(found, console)
    healthy = not found["problems"] and all(service["state"] == "ready" for service in found["services"])
    return 0 if healthy else 1


def run_logs(args: argparse.Namespace, console: Console) -> int:
    """Show, and follow, log files."""
    from archive_cli.logs import follow_logs, show_logs

    home = home_of(args)
    wanted = [home.logs / f"{args.name}.log"] if args.name else sorted(home.logs.glob("*.log"))
    missing = [path for path in wanted if not path.is_file()]
    if missing or not wanted:
        known = ", ".join(sorted(path.stem for path in home.logs.glob("*.log"))) or "none"
        raise UsageError(f"There is no such log in {home.logs} (there are: {known}).", code="no_such_log")
    offsets = show_logs(wanted, console, lines=args.lines)
    if args.follow:
        follow_logs(offsets, console)
    return 0


def run_version(args: argparse.Namespace, console: Console) -> int:
    """Show the version."""
    del args
    console.json({"version": __version__, "python": sys.version.split()[0]})
    console.text(f"archive {__version__}")
    return 0


def choice_of(args: argparse.Namespace) -> "Choice":
    """Return what the command line asks for."""
    from archive_cli.plan import POOLS, SERVICES, Choice, parse_counts

    engines = [f"engine-{pool}" for pool in POOLS]
    replicas = [*SERVICES, *engines]
    return Choice(
        host=args.host,
        port=args.port,
        ports=parse_counts(
            args.ports, option="--ports", names=["bus", "state", "model", "all-in-one", *replicas], highest=HIGHEST_PORT
        ),
        scale=parse_counts(_spelled_out(args.scale), option="--scale", names=replicas, highest=64),
        all_in_one=args.all_in_one,
        model=not args.no_model,
    )


def _spelled_out(words: list[str]) -> list[str]:
    """Return the words with `engine`, which means the workers of the bundled model, by its whole name."""
    return [re.sub(r"^engine=", f"engine-{BUNDLED_POOL}=", word) for word in words]


def _serve(args: argparse.Namespace, choice: "Choice", home: "Home") -> int:
    from archive_cli.report import Report
    from archive_cli.system import System, first_cause

    report = Report(log=home.logs / "supervisor.log", as_json=args.json)
    report.say(f"Starting Archive-AI on {home.path}")
    system = System(home=home, choice=choice, report=report, env=os.environ, find=not args.no_find)
    try:
        asyncio.run(system.run(timeout_s=args.wait))
    except BaseExceptionGroup as group:  # what runs beside each other ends in groups, also when one was interrupted
        cause = first_cause(group)
        if isinstance(cause, CliError):
            raise cause from None
        raise
    report.say(f"Stopped. The data stays in {home.path}.")
    report.result({"state": "stopped", "home": str(home.path)})
    return 0


def _detach(args: argparse.Namespace, home: "Home", console: Console) -> int:
    """Start the same command in the background and wait until it is ready, or has failed."""
    info = _await_ready(home, timeout_s=args.wait)
    if info is not None:
        return _tell_found(info, console)
    words = [word for word in sys.argv[1:] if word != "--detach"]
    log = home.logs / "up.log"
    with log.open("wb") as output:
        started = subprocess.Popen(  # noqa: S603 - this very command again, by the same person
            [sys.executable, "-m", "archive_cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until = time.monotonic() + args.wait + 10
    while time.monotonic() < until:
        info = home.read_run()
        if info is not None and info.pid == started.pid and info.state == "ready":
            console.json({"state": "ready", "url": info.url, "home": info.home, "pid": info.pid})
            console.text(f"Archive-AI is ready at {info.url}. `archive down` ends it.")
            return 0
        if (code := started.poll()) is not None:
            console.note(log.read_text(errors="replace").rstrip())
            if code:
                return code
            break
        time.sleep(0.1)
    raise StartError("It did not become ready.", code="start_failed", next_step=f"read {log}")


def _await_ready(home: "Home", *, timeout_s: float) -> "RunInfo | None":
    """Wait for the start, or the end, that somebody else has begun; None when nobody holds the folder any more."""
    until = time.monotonic() + timeout_s
    while home.running and time.monotonic() < until:
        info = home.read_run()
        if info is not None and info.state == "ready":
            return info
        time.sleep(0.1)
    if not home.running:
        return None
    raise NotRunningError(
        f"Another `archive up` holds {home.path} and did not become ready.",
        code="not_ready",
        next_step="`archive logs supervisor` tells how far it came",
    )


def _tell_found(info: "RunInfo", console: Console) -> int:
    console.json({"state": "ready", "url": info.url, "home": info.home, "pid": info.pid, "found": True})
    since = time.strftime("%H:%M:%S", time.localtime(info.started_at))
    console.text(f"Archive-AI runs already: {info.url} (pid {info.pid}, since {since}, data in {info.home}).")
    return 0


def _show_status(found: dict[str, Any], console: Console) -> None:
    mode = ", all services in one process" if found["all_in_one"] else ""
    waiting = [service["name"] for service in found["services"] if service["state"] != "ready"]
    state = f"up, with {len(waiting)} of {len(found['services'])} not ready," if waiting else found["state"]
    console.text(f"Archive-AI {found['version']} is {state} at {found['url']}{mode}")
    console.text(f"data {found['home']}, memory used {found['memory_mb']:.0f} MB (sum of PSS)")
    console.text()
    console.table(
        ("service", "state", "pid", "restarts", "health port", "MB", ""),
        (
            (
                service["name"],
                service["state"],
                service["pid"] or "-",
                service["restarts"],
                service["health_port"] or "-",
                f"{service['memory_mb']:.0f}",
                service["problem"],
            )
            for service in found["services"]
        ),
    )
    console.text()
    if found["engines"]:
        engine_table(found["engines"], console)
    else:
        console.text("No engine is alive: nothing can be asked, and search goes by words only.")
    if found["streams"]:
        console.text()
        stream_table(found["streams"], console)
    if found["documents"]:
        stats = found["documents"]
        console.text()
        console.text(f"documents {stats.get('unique_files', '?')}, chunks {stats.get('total_chunks', '?')}")
    for problem in found["problems"]:
        console.text(f"! {problem}")
