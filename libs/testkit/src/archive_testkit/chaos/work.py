"""The streams of a chaos run, and what its processes share.

All of them carry the same message: its model says what it does to its handler, its session is what it is ordered by.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from archive_contracts.chat import ChatRequested
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS, DOCUMENT_CHUNKS, DOCUMENT_COMMANDS, Stream

LEASE_S = 3.0
OUTPUTS = CHAT_EVENTS
GROUP = "router"
PARTITIONS = 4
INBOX = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process of a run works: its name, its way to the server, the folder of the notes."""

    who: str
    url: str
    folder: str


def inputs() -> Stream:
    """Return the stream of plain work, with a lease that a run can wait for many times."""
    return _under_fire(CHAT_REQUESTS)


def ordered() -> Stream:
    """Return the stream whose messages keep their order by key."""
    return replace(_under_fire(DOCUMENT_CHUNKS), partitions=PARTITIONS, key="session")


def once() -> Stream:
    """Return the stream that is read through an inbox, and to which messages are added twice."""
    return _under_fire(DOCUMENT_COMMANDS)


def _under_fire(stream: Stream) -> Stream:
    carried = (ChatRequested,)
    return replace(stream, messages=carried, consumers={GROUP: carried}, lease=timedelta(seconds=LEASE_S))


def keys() -> Sequence[str]:
    """Return the keys of all streams that are read; every third begins another kind."""
    return (
        inputs().physical(),
        ordered().physical(0),
        once().physical(),
        *(ordered().physical(partition) for partition in range(1, PARTITIONS)),
    )
