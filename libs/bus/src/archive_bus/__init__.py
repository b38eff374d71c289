"""The message bus that services see.

Delivery at least once with leases, counted attempts, back-off and dead letters; requests and streamed replies;
broadcasts, journals and cancellation. FastStream and redis-py sit in one transport below it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archive_bus._admin import (
        DeadLetter,
        GroupReport,
        NoSuchDeadLetter,
        NoSuchGroup,
        Operator,
        StreamReport,
    )
    from archive_bus._answers import Answered
    from archive_bus._backlog import Backlog
    from archive_bus._bus import Bus, Subscription
    from archive_bus._calls import Call
    from archive_bus._connect import connect
    from archive_bus._delivery import Delivery, Handler, OnDead, Origin, Received
    from archive_bus._errors import (
        BusError,
        BusUnavailable,
        Busy,
        JournalConflict,
        LeaseLost,
        NoSuchLog,
        NotInMap,
        PayloadError,
        Reject,
        RequestFailed,
        RequestTimeout,
        Retry,
        Verdict,
    )
    from archive_bus._fair import WEIGHTS, Fair
    from archive_bus._gate import Gate
    from archive_bus._inbox import Inbox, Inboxes, Turn, once
    from archive_bus._lease import Lease, clock
    from archive_bus._messages import TailEntry
    from archive_bus._options import BusOptions, Limits
    from archive_bus._owners import Adopted, Owner, Owners, Taken
    from archive_bus._setup import SetupRefused, create_streams, create_users
    from archive_bus._transport import Acked, Entry, Feed, Lane, Starts, Transport, wire
    from archive_bus._transport_parts import AnswerLogs, Due, LogEnd, Moved, Timers

_HOMES = {
    "Inbox": "archive_bus._inbox",
    "Inboxes": "archive_bus._inbox",
    "Turn": "archive_bus._inbox",
    "once": "archive_bus._inbox",
    "SetupRefused": "archive_bus._setup",
    "create_streams": "archive_bus._setup",
    "create_users": "archive_bus._setup",
    "Fair": "archive_bus._fair",
    "WEIGHTS": "archive_bus._fair",
    "Adopted": "archive_bus._owners",
    "Owner": "archive_bus._owners",
    "Owners": "archive_bus._owners",
    "Taken": "archive_bus._owners",
    "OnDead": "archive_bus._delivery",
    "NoSuchGroup": "archive_bus._admin",
    "Backlog": "archive_bus._backlog",
    "Limits": "archive_bus._options",
    "Busy": "archive_bus._errors",
    "Answered": "archive_bus._answers",
    "DeadLetter": "archive_bus._admin",
    "GroupReport": "archive_bus._admin",
    "NoSuchDeadLetter": "archive_bus._admin",
    "Operator": "archive_bus._admin",
    "StreamReport": "archive_bus._admin",
    "TailEntry": "archive_bus._messages",
    "Bus": "archive_bus._bus",
    "Subscription": "archive_bus._bus",
    "Gate": "archive_bus._gate",
    "Lease": "archive_bus._lease",
    "clock": "archive_bus._lease",
    "BusOptions": "archive_bus._options",
    "Call": "archive_bus._calls",
    "connect": "archive_bus._connect",
    "Delivery": "archive_bus._delivery",
    "Handler": "archive_bus._delivery",
    "Origin": "archive_bus._delivery",
    "Received": "archive_bus._delivery",
    "BusError": "archive_bus._errors",
    "BusUnavailable": "archive_bus._errors",
    "JournalConflict": "archive_bus._errors",
    "NoSuchLog": "archive_bus._errors",
    "LeaseLost": "archive_bus._errors",
    "NotInMap": "archive_bus._errors",
    "PayloadError": "archive_bus._errors",
    "Reject": "archive_bus._errors",
    "RequestFailed": "archive_bus._errors",
    "RequestTimeout": "archive_bus._errors",
    "Retry": "archive_bus._errors",
    "Verdict": "archive_bus._errors",
    "Acked": "archive_bus._transport",
    "Entry": "archive_bus._transport",
    "Feed": "archive_bus._transport",
    "Lane": "archive_bus._transport",
    "Starts": "archive_bus._transport",
    "Transport": "archive_bus._transport",
    "wire": "archive_bus._transport",
    "AnswerLogs": "archive_bus._transport_parts",
    "Due": "archive_bus._transport_parts",
    "LogEnd": "archive_bus._transport_parts",
    "Moved": "archive_bus._transport_parts",
    "Timers": "archive_bus._transport_parts",
}

__all__ = [
    "WEIGHTS",
    "Acked",
    "Adopted",
    "AnswerLogs",
    "Answered",
    "Backlog",
    "Bus",
    "BusError",
    "BusOptions",
    "BusUnavailable",
    "Busy",
    "Call",
    "DeadLetter",
    "Delivery",
    "Due",
    "Entry",
    "Fair",
    "Feed",
    "Gate",
    "GroupReport",
    "Handler",
    "Inbox",
    "Inboxes",
    "JournalConflict",
    "Lane",
    "Lease",
    "LeaseLost",
    "Limits",
    "LogEnd",
    "Moved",
    "NoSuchDeadLetter",
    "NoSuchGroup",
    "NoSuchLog",
    "NotInMap",
    "OnDead",
    "Operator",
    "Origin",
    "Owner",
    "Owners",
    "PayloadError",
    "Received",
    "Reject",
    "RequestFailed",
    "RequestTimeout",
    "Retry",
    "SetupRefused",
    "Starts",
    "StreamReport",
    "Subscription",
    "TailEntry",
    "Taken",
    "Timers",
    "Transport",
    "Turn",
    "Verdict",
    "clock",
    "connect",
    "create_streams",
    "create_users",
    "once",
    "wire",
]


def __getattr__(name: str) -> object:
    """Load a name from its module on first use: an operator's command needs no FastStream, and starts in a third."""
    if home := _HOMES.get(name):
        return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
