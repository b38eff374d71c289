"""What a client was told of one answer, and whether that keeps the promise. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

End = Literal["", "done", "error", "refused"]
"""``error`` came inside the stream, ``refused`` as a status; empty: it ended without a word."""
Log = Sequence[tuple[int, str]] | None
"""What the log of an answer keeps, by place; None when it is gone."""


@dataclass(slots=True, kw_only=True)
class Told:
    """One answer as its client saw it: events with their places in the log, over all connections.

    Times are in seconds on a clock that does not go back.
    """

    number: int
    wanted: int
    stream: str = ""
    asked_at: float = 0.0
    ended_at: float = 0.0
    events: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    end: End = ""
    why: str = ""
    resumed: int = 0
    again: int = 0
    notes: list[str] = field(default_factory=list[str])

    @property
    def place(self) -> int:
        """The place of the last event."""
        return self.events[-1][0] if self.events else 0


def broken(told: Told, log: Log, expected: Sequence[str] | None) -> list[str]:
    """Return what is wrong with an answer, nothing when it is right.

    ``expected`` are the pieces of the whole answer, None when nobody knows them.
    """
    found = list(told.notes)
    if not told.end:
        found.append("it ended without a word")
    places = [place for place, _ in told.events]
    if places != sorted(set(places)):
        found.append("its events are not in order, or doubled")
    if expected is not None:
        pieces = [piece for _, data in told.events if (piece := text_of(data))]
        if pieces != list(expected[: len(pieces)]):
            found.append(f"{len(pieces)} pieces are not the first of the answer")
        elif told.end == "done" and len(pieces) != len(expected):
            found.append(f"complete with {len(pieces)} of {len(expected)} pieces")
    if told.end == "refused" and told.events and (log is not None or not told.why.startswith("404")):
        found.append(f"broke off with {told.why}, and its log is there")
    if log is not None:
        kept = [entry for entry in log if entry[0] <= told.place]
        if kept != told.events:
            found.append(f"{len(told.events)} events, and its log has {len(kept)} up to there that differ")
        elif told.end == "done" and log[-1][1] != "[DONE]":
            found.append("complete, and its log is not")
    return found


def text_of(data: str) -> str:
    """Return the text of a piece, empty for what has none."""
    if not data.startswith("{"):
        return ""
    choices = cast("list[dict[str, Any]]", cast("dict[str, Any]", json.loads(data)).get("choices") or [])
    return "".join(str(choice["delta"].get("content") or "") for choice in choices)
