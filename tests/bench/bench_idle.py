"""How much memory does the system hold when nobody asks for anything?

The sum of the proportional set sizes of all its processes, servers and bundled model included, a minute after it is
ready: as processes, then all in one. Writes .bench/idle.json.

Usage: python tests/bench/bench_idle.py [--after 60]
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from archive_testkit.system import ArchiveSystem

OUT = Path(".bench/idle.json")
MODES: dict[str, tuple[str, ...]] = {"processes": (), "all_in_one": ("--all-in-one",)}


def measure(options: tuple[str, ...], *, after_s: float) -> tuple[float, dict[str, Any]]:
    """Start a system on an empty folder; return how long that took in seconds, and its status when idle."""
    with tempfile.TemporaryDirectory(prefix="bench-idle-") as folder:
        began = time.monotonic()
        system = ArchiveSystem(Path(folder) / "home", options=options).start()
        start_s = time.monotonic() - began
        try:
            time.sleep(after_s)
            return start_s, json.loads(system.command("status", "--json"))
        finally:
            system.stop()


def _end(number: int, _: object) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Measure both modes, print a table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--after", type=float, default=60.0, metavar="S", help="seconds after ready (default 60)")
    args = parser.parse_args()
    # Without it the end of this process would leave the system running.
    signal.signal(signal.SIGTERM, _end)
    figures: dict[str, float] = {}
    table: list[dict[str, Any]] = []
    for mode, options in MODES.items():
        start_s, status = measure(options, after_s=args.after)
        figures[f"idle_{mode}_mb"] = round(status["memory_mb"], 1)
        figures[f"start_{mode}_s"] = round(start_s, 1)
        table += [
            {"mode": mode, "process": service["name"], "mb": round(service["memory_mb"], 1)}
            for service in status["services"]
        ]
        table.append({"mode": mode, "process": "all", "mb": figures[f"idle_{mode}_mb"]})
    for row in table:
        sys.stdout.write(f"{row['mode']:<12}{row['process']:<16}{row['mb']:>8.1f} MB\n")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures, "table": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
