"""The message bus that services see.

Delivery at least once with leases, counted attempts, back-off and dead letters; requests and streamed replies;
broadcasts, journals and cancellation. FastStream and redis-py sit in one transport below it.
"""

from archive_bus._admin import DeadLetter, GroupReport, NoSuchDeadLetter, Operator, StreamReport, TailEntry
from archive_bus._bus import Bus, BusOptions
from archive_bus._calls import Call
from archive_bus._connect import connect
from archive_bus._delivery import Delivery, Handler, Origin, Received
from archive_bus._errors import (
    BusError,
    BusUnavailable,
    JournalConflict,
    NotInMap,
    PayloadError,
    Reject,
    RequestFailed,
    RequestTimeout,
    Retry,
    Verdict,
)
from archive_bus._transport import Entry, Feed, Lane, Starts, Transport

__all__ = [
    "Bus",
    "BusError",
    "BusOptions",
    "BusUnavailable",
    "Call",
    "DeadLetter",
    "Delivery",
    "Entry",
    "Feed",
    "GroupReport",
    "Handler",
    "JournalConflict",
    "Lane",
    "NoSuchDeadLetter",
    "NotInMap",
    "Operator",
    "Origin",
    "PayloadError",
    "Received",
    "Reject",
    "RequestFailed",
    "RequestTimeout",
    "Retry",
    "Starts",
    "StreamReport",
    "TailEntry",
    "Transport",
    "Verdict",
    "connect",
]
