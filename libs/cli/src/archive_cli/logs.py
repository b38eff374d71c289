"""Shows and follows log files."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from archive_cli.console import Console

_TAIL_BYTES = 1 << 18


def show_logs(paths: Sequence[Path], console: Console, *, lines: int) -> dict[Path, int]:
    """Write the last lines of each file; return how far each was read, in bytes."""
    offsets: dict[Path, int] = {}
    for path in paths:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read()
        offsets[path] = size
        last = text.decode(errors="replace").splitlines()[-lines:] if lines > 0 else []
        for line in last:
            _write(console, path, line, named=len(paths) > 1)
    return offsets


def follow_logs(offsets: Mapping[Path, int], console: Console, *, every_s: float = 0.3) -> None:
    """Write what is added, until interrupted; a file that was rotated is read from its beginning."""
    known = dict(offsets)
    rest = dict.fromkeys(known, b"")
    while True:
        for path, offset in known.items():
            if not path.is_file():
                continue
            size = path.stat().st_size
            start = offset if size >= offset else 0
            if size == start:
                continue
            with path.open("rb") as file:
                file.seek(start)
                added = file.read(size - start)
            known[path] = start + len(added)
            *whole, rest[path] = (rest[path] + added).split(b"\n")
            for line in whole:
                _write(console, path, line.decode(errors="replace"), named=len(known) > 1)
        time.sleep(every_s)


def _write(console: Console, path: Path, line: str, *, named: bool) -> None:
    console.json({"process": path.stem, "line": line})
    console.text(f"{path.stem:<14} {line}" if named else line)
