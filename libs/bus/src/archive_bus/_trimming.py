"""Dropping what every group has acknowledged, done by those who publish.

Access rules can keep a consumer from removing what other groups have not read yet, but not a publisher, since XADD
trims as well. So whoever adds to a stream also trims it; foreign publishers do not, and their only consumer does.
"""

import asyncio
import logging
import math
import random
import time

from archive_bus._errors import BusUnavailable
from archive_bus._transport import Transport
from archive_contracts.streams import STREAMS, Kind, Stream

log = logging.getLogger(__name__)

TRIM_S = 5.0
FORGET_S = 900.0
"""How long a lane is trimmed after the last message to it; workers' own lanes come and go."""
FOREIGN = "external"


def trimmed_by_consumer(stream: Stream) -> bool:
    """Whether no publisher of a stream is ours."""
    return FOREIGN in stream.producers


class Trimmer:
    """Trims the streams that a service publishes to."""

    def __init__(self, transport: Transport, *, service: str) -> None:
        self._transport = transport
        # From the start, so that what a publisher left behind that has died is trimmed by its successor.
        self._watched = {
            (stream.name, str(number)): (stream, math.inf)
            for stream in STREAMS.values()
            if service in stream.producers and stream.kind is Kind.WORK
            for number in range(stream.partitions)
        }

    @property
    def outputs(self) -> list[tuple[Stream, str]]:
        """Streams and partitions that are looked after now."""
        return [(stream, partition) for (_, partition), (stream, _) in self._watched.items()]

    def published(self, stream: Stream, partition: str) -> None:
        """Trim a stream from now on, if groups read it."""
        if stream.consumers:
            forever = stream.kind is Kind.WORK
            self._watched[stream.name, partition] = (stream, math.inf if forever else time.monotonic() + FORGET_S)

    async def run(self) -> None:
        """Trim now and then until cancelled."""
        while True:
            await asyncio.sleep(TRIM_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, hides nothing
            try:
                for (name, partition), (stream, until) in list(self._watched.items()):
                    await self._transport.trim(stream, partition)
                    if time.monotonic() > until:
                        del self._watched[name, partition]
            except BusUnavailable as error:
                log.warning("streams cannot be trimmed: %s; trying again", error)
