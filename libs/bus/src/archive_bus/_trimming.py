"""Dropping what every group has acknowledged, done by those who publish.

Access rules can keep a consumer from removing what other groups have not read yet, but not a publisher, since XADD
trims as well. So whoever adds to a stream also trims it, and who reads a lane that it may add to; foreign publishers do
not, and their only consumer does.
"""

import asyncio
import logging
import math
import random
import time
from collections import Counter

from archive_bus._errors import BusUnavailable
from archive_bus._timekeeper import Timekeeper
from archive_bus._transport import Lane, Transport
from archive_contracts.streams import STREAMS, Kind, Stream

log = logging.getLogger(__name__)

TRIM_S = 5.0
FORGET_S = 900.0
"""How long a lane is looked after once nothing is added to it or read from it; workers' own lanes come and go."""
FOREIGN = "external"


def trimmed_by_consumer(stream: Stream) -> bool:
    """Whether no publisher of a stream is ours."""
    return FOREIGN in stream.producers


class Trimmer:
    """Trims the streams that a service publishes to, and has the time of their delayed messages kept for as long."""

    def __init__(self, transport: Transport, timekeeper: Timekeeper, *, service: str) -> None:
        self._transport = transport
        self._timekeeper = timekeeper
        self._service = service
        self._watched: dict[tuple[str, str], tuple[Stream, float]] = {}
        self._readers: Counter[tuple[str, str]] = Counter()
        # From the start, so that what a publisher left behind that has died is trimmed by its successor.
        for stream in STREAMS.values():
            if service in stream.producers and stream.kind is Kind.WORK:
                for number in range(stream.partitions):
                    self._watch(stream, str(number), math.inf)

    def published(self, stream: Stream, partition: str) -> None:
        """Trim a stream from now on, if groups read it."""
        if stream.consumers:
            forever = stream.kind is Kind.WORK
            self._watch(stream, partition, math.inf if forever else time.monotonic() + FORGET_S)

    def reads(self, stream: Stream, partition: str) -> None:
        """Trim a lane that is read here, if its readers may also write to it: its publishers may all be gone."""
        if stream.kind is Kind.LANE and self._service in stream.producers:
            self._readers[stream.name, partition] += 1
            self._watch(stream, partition, math.inf)

    def left(self, lane: Lane) -> None:
        """Trim a lane for a while yet that is no longer read here."""
        place = (lane.stream.name, lane.partition)
        self._readers[place] -= 1
        if lane.stream.kind is Kind.LANE and place in self._watched and self._readers[place] <= 0:
            self._watched[place] = (lane.stream, time.monotonic() + FORGET_S)

    def _watch(self, stream: Stream, partition: str, until: float) -> None:
        place = (stream.name, partition)
        if known := self._watched.get(place):
            if known[0] is stream and known[1] >= until:
                return
            until = max(until, known[1])
        else:
            self._timekeeper.watch(stream, partition)
        self._watched[place] = (stream, until)

    async def run(self) -> None:
        """Trim now and then until cancelled."""
        while True:
            await asyncio.sleep(TRIM_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, hides nothing
            try:
                for place in tuple(self._watched):
                    await self._trim(place)
            except BusUnavailable as error:
                log.warning("streams cannot be trimmed: %s; trying again", error)

    async def _trim(self, place: tuple[str, str]) -> None:
        partition = place[1]
        await self._transport.trim(self._watched[place][0], partition)
        stream, until = self._watched[place]
        if time.monotonic() > until:
            del self._watched[place]
            self._timekeeper.release(stream, partition)
