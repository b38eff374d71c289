"""What the supervisor tells: lines for people, JSON lines for programs, and a copy in its own log."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO


class Report:
    """Writes progress to a stream and to `supervisor.log`."""

    def __init__(self, *, log: Path, as_json: bool = False, stream: TextIO | None = None) -> None:
        self._log = log
        self._json = as_json
        self._stream = stream or sys.stdout

    def process(self, name: str, state: str, detail: str = "", lines: Sequence[str] = ()) -> None:
        """Tell what became of one process; `lines` are the last it wrote."""
        if self._json:
            self._write(json.dumps({"process": name, "state": state, "detail": detail, "lines": list(lines)}))
        else:
            self._write(f"  {name:<16} {state:<10} {detail}".rstrip())
            for line in lines:
                self._write(f"    | {line}")
        self._keep(f"{name} {state} {detail}".rstrip())

    def say(self, text: str) -> None:
        """Tell something to a person only."""
        if not self._json:
            self._write(text)

    def result(self, value: object) -> None:
        """Tell something to a program only."""
        if self._json:
            self._write(json.dumps(value))

    def _write(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody listens any more; the system keeps running.
            self._stream = sys.stderr if self._stream is sys.stdout else self._stream

    def _keep(self, line: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        # A full disk costs the copy, never the system that is told about.
        with suppress(OSError), self._log.open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {line}\n")
