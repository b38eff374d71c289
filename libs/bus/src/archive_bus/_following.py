"""Reading streams without a group: broadcasts and journals."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta

from archive_bus._delivery import Received
from archive_bus._errors import BusUnavailable, PayloadError
from archive_bus._payload import Payloads
from archive_bus._transport import Entry, Transport
from archive_contracts.base import Message
from archive_contracts.envelope import Envelope, EnvelopeError
from archive_contracts.streams import Server, Stream

log = logging.getLogger(__name__)

PAUSE_S = 0.2
WHOLE_JOURNAL = 100_000


class Follower:
    """Reads what others write, for as long as it is asked to."""

    def __init__(self, transport: Transport, payloads: Payloads) -> None:
        self._transport = transport
        self._payloads = payloads

    def recent(self, stream: Stream, partition: str, since: timedelta) -> AsyncIterator[Received[Message] | None]:
        """Yield messages from ``since`` ago on; None about once a second when none come."""
        # What comes after an id does not include it: the millisecond before, or one of this millisecond is missed.
        after = f"{max(0, int((time.time() - since.total_seconds()) * 1000) - 1)}-0"
        return self.from_id(stream.physical(partition), stream.server, after)

    async def read(self, stream: Stream, entity: str, after: str) -> list[Received[Message]]:
        """Return the journal of an entity, after an entry's id."""
        key = stream.physical(entity)
        entries = await self._transport.read(key, server=stream.server, after=after, count=WHOLE_JOURNAL)
        return [received for entry in entries if (received := await self.receive(entry))]

    async def from_id(self, key: str, server: Server, after: str) -> AsyncIterator[Received[Message] | None]:
        """Yield messages after an entry's id; None about once a second when none come. Outlives outages."""
        told = ""
        while True:
            try:
                async for batch in self._transport.tail(key, server=server, after=after):
                    told = ""
                    if not batch:
                        yield None
                    for entry in batch:
                        received = await self.receive(entry)
                        after = entry.id
                        if received:
                            yield received
            except BusUnavailable as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("%s: %s; trying again", key, told)  # each time would be five a second
                yield None
                await asyncio.sleep(PAUSE_S)

    async def receive(self, entry: Entry) -> Received[Message] | None:
        """Return an entry with its message, None when it cannot be read."""
        try:
            envelope = Envelope.from_fields(entry.fields, entry_id=entry.id)
            message = await self._payloads.message(envelope)
        except (EnvelopeError, PayloadError) as error:
            log.warning("a followed entry cannot be read: %s", error)
            return None
        return Received(entry.id, envelope, message)
