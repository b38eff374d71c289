"""What happened: one line a note, each process into a file of its own that is only ever appended to.

Times are ``time.monotonic()``, which all processes of a machine share, in seconds.
"""

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class What(StrEnum):
    """What a note tells of."""

    TICK = "tick"
    """The process's event loop turns."""
    SENT = "sent"
    """A publish began."""
    ACCEPTED = "accepted"
    """The server has taken a publish; of a message with a ``key``, ``sequence`` is its place there."""
    DOUBLED = "doubled"
    """Another entry of an accepted message is being added, as no publisher of ours would."""
    START = "start"
    """A handler began; ``run`` tells the runs of one message apart."""
    FINISH = "finish"
    """A handler ended; ``detail`` says how (see Ending)."""
    EFFECT = "effect"
    """An output of a run was taken by the server; ``since`` is when it was sent, ``fence`` the token of its owner."""
    ACK = "ack"
    """The server has taken the acknowledgement of a message; ``since`` is when it was sent. With ``ONCE`` as its
    ``detail`` it has noted the message in the inbox of the group."""
    SAID = "said"
    """The bus said that messages were lost with a stream."""
    DIED = "died"
    """The nemesis ended a process; ``who`` is that process, ``detail`` the signal."""
    GONE = "gone"
    """The nemesis deleted a stream (``took`` names what lay on it) or a group."""
    FAULT = "fault"
    """The nemesis did something other than ending a process; ``detail`` says what."""
    SEEN = "seen"
    """A witness read the message on its stream, ``detail``, as the entry ``run``."""
    BURIED = "buried"
    """The message lies among the dead letters; ``detail`` is the cause."""
    EXIT = "exit"
    """A process ended; ``detail`` is its exit code."""


ONCE = "once"


class Ending(StrEnum):
    """How a run ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    POSTPONED = "postponed"
    """The server did not take what the handler published; no attempt is charged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One line of the history."""

    at: float
    who: str
    what: What
    message: str = ""
    run: str = ""
    detail: str = ""
    since: float = 0.0
    key: str = ""
    sequence: int = 0
    fence: int = 0
    took: tuple[str, ...] = ()


FIELDS = tuple(field.name for field in fields(Note))


class Recorder:
    """Appends notes to the file of one process; a line is written by one call, so that a kill tears none."""

    def __init__(self, folder: Path, who: str) -> None:
        self.who = who
        self._file = os.open(folder / f"{who}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def note(self, what: What, message: str = "", *, who: str = "", **more: Any) -> None:
        """Write down that something happened just now; ``more`` are further fields of a Note."""
        note = Note(at=time.monotonic(), who=who or self.who, what=what, message=message, **more)
        os.write(self._file, to_line(note))


def to_line(note: Note) -> bytes:
    """Return a note as a line of JSON without what is empty."""
    told = {name: value for name in FIELDS if (value := getattr(note, name)) or name == "at"}
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"


def from_lines(lines: Iterable[bytes]) -> list[Note]:
    """Return the notes of a file; a last line without its end is what a kill cut short."""
    notes: list[Note] = []
    for line in lines:
        if line.endswith(b"\n"):
            told = json.loads(line)
            told["what"] = What(told["what"])
            told["took"] = tuple(told.get("took", ()))
            notes.append(Note(**told))
    return notes


def read(folder: Path) -> Sequence[Note]:
    """Return the notes of all processes in the order of their times."""
    notes: list[Note] = []
    for path in folder.glob("*.log"):
        with path.open("rb") as file:
            notes += from_lines(file)
    return sorted(notes, key=lambda note: note.at)
