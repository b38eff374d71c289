"""Who makes delayed messages visible when they are due: every process whose service publishes to their stream.

A consumer may not add to what it reads; only where all publishers are foreign, or where it is one of them, it keeps
their time.
"""

import asyncio
import logging
import math
import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from archive_bus._errors import BusUnavailable, NotInMap
from archive_bus._transport import Transport
from archive_bus._transport_parts import Due
from archive_contracts.streams import Kind, Stream

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often a lane is looked at whose timers somebody else may have set."""
TICK_S = 0.02
"""The shortest time between two looks: what is due within it travels together."""
MOST_A_MOVE = 500
"""Messages moved by one script: the server does nothing else meanwhile."""
PAUSE_S = 0.1
KINDS = frozenset({Kind.WORK, Kind.LANE, Kind.INGRESS})


def due_of(stream: Stream, *, delay: timedelta | None, at: datetime | None) -> Due | None:
    """Return when a message is due, None when it is not to wait.

    Raises:
        NotInMap: the stream is not read by groups, so nobody would be told later.
        ValueError: both are given, or ``at`` has no time zone.
    """
    if delay is None and at is None:
        return None
    if stream.kind not in KINDS:
        raise NotInMap(f"{stream.name} is no stream of work: a message there cannot be delayed")
    if delay is not None and at is not None:
        raise ValueError("a message is due after a delay or at a time, not both")
    if at is None:
        return Due(delay_ms=max(0, math.ceil((delay or timedelta()).total_seconds() * 1000)))
    if at.tzinfo is None:
        raise ValueError("the time at which a message is due needs a time zone")
    return Due(at_ms=max(1, math.ceil(at.timestamp() * 1000)))


@dataclass(slots=True)
class _Watched:
    stream: Stream
    partition: str
    look_at: float
    released: bool = False


class Timekeeper:
    """Looks at the lanes of this process when something is due, and once a second at those that seem empty."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._watched: dict[str, _Watched] = {}
        self._wake = asyncio.Event()

    def watch(self, stream: Stream, partition: str, *, within_s: float = 0.0) -> None:
        """Look at a lane after a while, and from then on."""
        if stream.kind not in KINDS:
            return
        look_at = time.monotonic() + within_s
        watched = self._watched.setdefault(stream.physical(partition), _Watched(stream, partition, look_at))
        watched.look_at = min(watched.look_at, look_at)
        watched.released = False
        self._wake.set()

    def release(self, stream: Stream, partition: str) -> None:
        """Look at a lane no more once nothing waits there."""
        if watched := self._watched.get(stream.physical(partition)):
            watched.released = True

    async def run(self) -> None:
        """Move what is due, until cancelled."""
        while True:
            now = time.monotonic()
            ready = [watched for watched in self._watched.values() if watched.look_at <= now]
            if ready:
                await asyncio.gather(*(self._move(watched) for watched in ready))
                continue
            self._wake.clear()
            left = min((watched.look_at for watched in self._watched.values()), default=now + LOOK_S) - now
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _move(self, watched: _Watched) -> None:
        # Set before the look: a timer that this process sets meanwhile may only bring it forward.
        watched.look_at = time.monotonic() + LOOK_S * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load
        try:
            moved = await self._transport.timers.move(watched.stream, watched.partition, most=MOST_A_MOVE)
        except BusUnavailable as error:
            log.warning("%s: delayed messages wait: %s", watched.stream.physical(watched.partition), error)
            watched.look_at = time.monotonic() + PAUSE_S
            return
        if moved.next_in_s is not None:
            pause_s = 0.0 if moved.count == MOST_A_MOVE else max(TICK_S, moved.next_in_s)
            watched.look_at = min(watched.look_at, time.monotonic() + pause_s)
        elif watched.released:
            del self._watched[watched.stream.physical(watched.partition)]
