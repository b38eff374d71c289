"""Writes to the terminal: text for people, JSON for programs, complaints to stderr."""

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from archive_cli.errors import CliError


@dataclass(frozen=True, slots=True)
class Console:
    """Where a command writes. With `as_json`, stdout carries JSON and nothing else."""

    as_json: bool = False

    @property
    def out(self) -> TextIO:
        """The stream for results."""
        return sys.stdout

    @property
    def width(self) -> int:
        """Characters a line of prose should have: the terminal's, within what can be read."""
        return max(40, min(shutil.get_terminal_size((100, 24)).columns, 100))

    def text(self, text: str = "", *, end: str = "\n") -> None:
        """Write for a person."""
        if not self.as_json:
            sys.stdout.write(text + end)
            sys.stdout.flush()

    def json(self, value: object) -> None:
        """Write one JSON line for a program."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Write something that is no result."""
        sys.stderr.write(text + "\n")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write columns as wide as they need; nothing is cut, so that ids can be copied."""
        cells = [[str(cell) for cell in row] for row in rows]
        widths = [max(len(row[column]) for row in [list(head), *cells]) for column in range(len(head))]
        for row in [[name.upper() for name in head], *cells]:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.text(line.rstrip())

    def problem(self, error: CliError) -> None:
        """Write what went wrong and what to do about it."""
        if self.as_json:
            told = {"code": error.code, "message": error.message, "next_step": error.next_step}
            self.json({"error": told})
            return
        self.note(f"archive: {error.message}")
        if error.next_step:
            self.note(f"  next: {error.next_step}")


def size(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
