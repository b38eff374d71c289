"""What every route has at hand."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from archive_bus import Bus
from archive_gateway.domain.ports import (
    Attendance,
    Cancels,
    Engines,
    Figures,
    History,
    Jobs,
    Keys,
    TokenTexts,
    Uploads,
    Usage,
)
from archive_gateway.routes.asking import Asking
from archive_gateway.routes.metering import Metering

Check = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what a client may ask. Sizes in bytes, times in seconds."""

    body: int
    upload: int
    request_s: float
    run_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The gateway's connections and limits, as the routes use them.

    ``draining`` is set when the process is about to end: streams that have no end of their own end then.
    """

    bus: Bus
    asking: Asking
    cancels: Cancels
    engines: Engines
    uploads: Uploads
    limits: Limits
    metering: Metering
    jobs: Jobs
    keys: Keys
    usage: Usage
    attendance: Attendance
    tokens: TokenTexts
    figures: Figures
    history: History
    ready: Mapping[str, Check]
    live: Callable[[], str | None]
    began: float = field(default_factory=time.monotonic)
    draining: asyncio.Event = field(default_factory=asyncio.Event)
