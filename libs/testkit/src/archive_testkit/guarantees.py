"""Which guarantee of the bus which test proves, with what figure, on which server.

A test names what it proves, ``@pytest.mark.guarantee("G3")``, and by the fixture ``figure`` what it reaches. With
``--record-guarantees FILE`` a run writes all that down; ``python -m archive_testkit.guarantees FILE README.md`` makes
the table of it. What takes minutes is marked ``@pytest.mark.long`` and runs only then.
"""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from archive_testkit.servers import server_binary

MARK, FIGURE, LONG = "guarantee", "figure", "long"
BEGIN, END = "<!-- guarantees: written by make guarantees -->", "<!-- end of guarantees -->"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What is promised, and the figure that a proof has to reach."""

    title: str
    aim: str


GUARANTEES = {
    "G1": Guarantee("accepted is handled at least once by every group", "0 lost of 100,000"),
    "G2": Guarantee("a dead worker's messages resume within lease and scan", "<= 1.3 x lease"),
    "G3": Guarantee("a running handler is never doubled, a stale one can do nothing", "0 overlaps, 0 accepted late"),
    "G4": Guarantee("SIGTERM hands back what is not finished", "0 stranded, others start them < 1 s"),
    "G5": Guarantee(
        "retries with back-off, then dead letters with cause; replay", "exactly N runs, 0 false dead letters"
    ),
    "G6": Guarantee("publish is idempotent by id and survives an outage", "1 entry an id, survives 30 s"),
    "G7": Guarantee("a handler's effects happen once", "a second run does nothing"),
    "G8": Guarantee("memory follows what is unacknowledged", "0 unacknowledged trimmed"),
    "G9": Guarantee("back-pressure: bounded prefetch, Busy above a depth", "resident memory flat within 10 %"),
    "G10": Guarantee("restarts, lost groups and emptied servers heal", "resumes < 1 s after the server, 0 lost"),
    "G11": Guarantee("half-open sockets are noticed", "resumes < 2 s after it heals"),
    "G12": Guarantee("order per key within a group", "0 inversions"),
    "G13": Guarantee("deadlines travel; errors come back typed", "0 starts after the deadline, one round trip"),
    "G14": Guarantee("delayed delivery; priorities", "0 early, p99 late < 250 ms, no lane starves"),
    "G15": Guarantee("speed, by CPU a message", "<= 15 us consume, <= 20 us publish, request p50 <= 3 x bare redis-py"),
    "G16": Guarantee("telemetry: lag, pending, trace links, any Unicode", "round-trips; 0 instead of an error"),
}


class Figure(Protocol):
    """Notes a figure that a test reached."""

    def __call__(self, name: str, value: float, unit: str = "") -> None:
        """Note it."""
        ...


@dataclass(frozen=True, slots=True)
class Proof:
    """One run of a test that proves a guarantee."""

    guarantee: str
    test: str
    server: str
    passed: bool
    figures: tuple[str, ...]


class Recorder:
    """Collects proofs from the reports of a run, those of xdist's workers too, and writes them at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._proofs: list[Proof] = []
        self._versions: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what a test proved."""
        if report.when != "call" and not report.failed:
            return
        marks = [value for name, value in report.user_properties if name == MARK]
        figures = tuple(str(value) for name, value in report.user_properties if name == FIGURE)
        # Where groups are kept together, xdist writes a test's group behind its name.
        test = report.nodeid.rpartition("::")[2].partition("@")[0]
        for guarantee in marks:
            server = self._server(test)
            if server:
                self._proofs.append(
                    Proof(
                        str(guarantee), test.partition("[")[0], server, report.passed, figures if report.passed else ()
                    )
                )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write them down, unless this is one of xdist's workers."""
        if not hasattr(session.config, "workerinput"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps([asdict(proof) for proof in self._proofs], indent=1) + "\n")

    def _server(self, test: str) -> str:
        """Return the server a test ran on by its parameters; nothing for the bus in memory, which proves nothing."""
        parameters = test.partition("[")[2]
        if "memory" in parameters:
            return ""
        binary = "redis-server" if "redis-server" in parameters else server_binary()
        if binary not in self._versions:
            self._versions[binary] = version_of(binary)
        return self._versions[binary]


def version_of(binary: str) -> str:
    """Return a server's name and version, such as Valkey 9.1.2."""
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    number = next(word[2:] for word in told.split() if word.startswith("v="))
    return f"{'Valkey' if 'valkey' in told.lower() else 'Redis'} {number}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--record-guarantees", metavar="FILE", default=None, help="write proofs of guarantees to FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker; record when asked to."""
    config.addinivalue_line("markers", f"{MARK}(name, ...): proves these guarantees of the bus, such as G3")
    config.addinivalue_line("markers", f"{LONG}: takes minutes; make guarantees runs it")
    path: str | None = config.getoption("--record-guarantees")
    if path:
        config.pluginmanager.register(Recorder(Path(path)), "guarantee-recorder")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a marked test carry its guarantees into its report; leave out what takes minutes unless it is recorded."""
    if item.get_closest_marker(LONG) and not item.config.getoption("--record-guarantees"):
        item.add_marker(pytest.mark.skip(reason="takes minutes: make guarantees runs it"))
    for mark in item.iter_markers(MARK):
        for name in mark.args:
            if name not in GUARANTEES:
                raise pytest.UsageError(f"{item.nodeid}: there is no guarantee {name!r}")
            item.user_properties.append((MARK, name))


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Note a figure that this test reached, for the table of guarantees."""

    def note(name: str, value: float, unit: str = "") -> None:
        record_property(FIGURE, f"{name} {value:.4g} {unit}".rstrip())

    return note


def table(proofs: Iterable[Mapping[str, Any]]) -> str:
    """Return the table: a row a guarantee and test; what has no test says so."""
    rows: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for proof in proofs:
        rows[proof["guarantee"]][proof["test"]].append(proof)
    lines = ["| guarantee | to reach | test | reached | server |", "|---|---|---|---|---|"]
    for name, promised in GUARANTEES.items():
        head = f"{name}: {promised.title} | {promised.aim}"
        if name not in rows:
            lines.append(f"| {head} | no test | | |")
        for number, (test, runs) in enumerate(sorted(rows[name].items())):
            lines.append(f"| {head if number == 0 else ' | '} | `{test}` | {_reached(runs)} | {_on(runs)} |")
    return "\n".join(lines)


def _reached(runs: Sequence[Mapping[str, Any]]) -> str:
    if not all(run["passed"] for run in runs):
        return "**failed**"
    each = list(dict.fromkeys("; ".join(run["figures"]) for run in runs))
    return " / ".join(figures for figures in each if figures) or "held"


def _on(runs: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(sorted({str(run["server"]) for run in runs}, reverse=True))


def rewrite(text: str, between: str) -> str:
    """Return the text with another table between the marks. Raises ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there are no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{between}\n{END}{after}"


def main(record: Path, readme: Path) -> None:
    """Write the table of a record into a README."""
    readme.write_text(rewrite(readme.read_text(), table(json.loads(record.read_text()))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
