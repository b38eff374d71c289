"""Read server-sent events from bytes that arrive in any pieces.

Format: WHATWG HTML, section 9.2.6 (event stream interpretation).
"""

from __future__ import annotations

from dataclasses import dataclass


class EventTooLarge(ValueError):
    """One event passed the limit; reading on would cost unbounded memory."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One dispatched event: its `data` lines joined by line feeds, and its type, empty for a plain message."""

    data: str
    event: str = ""


class SseParser:
    """Feed it bytes, get events.

    LF, CR LF and CR end a line, comments are skipped, bytes that are no UTF-8 become replacement characters.
    """

    def __init__(self, *, limit: int = 8 * 1024 * 1024) -> None:
        """Bound one event to `limit` bytes."""
        self._limit = limit
        self._partial: list[bytes] = []
        self._size = 0
        self._data: list[str] = []
        self._event = ""
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes and return the events they complete.

        Raises:
            EventTooLarge: the event under way passed the limit.
        """
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._size += len(chunk)
        if b"\n" not in chunk:
            self._partial.append(chunk)
            self._check_size()
            return []
        lines = b"".join((*self._partial, chunk)).split(b"\n")
        self._partial = [lines.pop()]
        events = [event for line in lines if (event := self._line(line)) is not None]
        if events:
            self._size = len(self._partial[0])
        self._check_size()
        return events

    def finish(self) -> list[SseEvent]:
        """Return the event that lacked its closing blank line, for servers that end their last one without it."""
        events = [self._line(b"".join(self._partial)), self._dispatch()]
        self._partial, self._size = [], 0
        return [event for event in events if event is not None]

    def _line(self, line: bytes) -> SseEvent | None:
        if self._first:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._first = False
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value.decode("utf-8", "replace"))
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> SseEvent | None:
        event = SseEvent("\n".join(self._data), self._event) if self._data else None
        self._data, self._event = [], ""
        return event

    def _check_size(self) -> None:
        if self._size > self._limit:
            raise EventTooLarge(f"an event is over {self._limit} bytes")
