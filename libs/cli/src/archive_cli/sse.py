"""Server-sent events, as the HTML standard describes their text. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `name` is "message" where the server gave none."""

    name: str
    data: str
    id: str = ""


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of a stream of lines without their ends.

    Comments (pings) and unknown fields are skipped, and so is an event that the stream's end cut off.
    """
    name, last_id = "", ""
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield Event(name or "message", "\n".join(data), last_id)
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                name = value
            case "data":
                data.append(value)
            case "id" if "\0" not in value:
                last_id = value
            case _:
                pass
