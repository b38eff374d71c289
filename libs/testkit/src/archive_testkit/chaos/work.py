"""The streams of a chaos run, and what its processes share."""

from dataclasses import dataclass, replace
from datetime import timedelta

from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS, Stream

LEASE_S = 3.0
OUTPUTS = CHAT_EVENTS
GROUP = "router"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process of a run works: its name, its way to the server, the folder of the notes."""

    who: str
    url: str
    folder: str


def inputs(lease_s: float = LEASE_S) -> Stream:
    """Return the stream under fire, with a lease that a run can wait for many times."""
    return replace(CHAT_REQUESTS, lease=timedelta(seconds=lease_s))
