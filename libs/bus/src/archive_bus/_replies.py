"""The reply stream of a process: read by one task, handed to the calls that wait."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence

from archive_bus._calls import Calls
from archive_bus._errors import BusUnavailable, PayloadError, WrongAnswer
from archive_bus._payload import Payloads, decoded, is_whole
from archive_bus._transport import Entry, Transport
from archive_contracts.envelope import Envelope, EnvelopeError

log = logging.getLogger(__name__)

RENEW_S = 10.0
RENEW_AFTER = 500
PAUSE_S = 0.1


class ReplyReader:
    """Reads the replies to one process."""

    def __init__(self, transport: Transport, payloads: Payloads, *, process: str, calls: Calls) -> None:
        self._transport = transport
        self._payloads = payloads
        self._process = process
        self._calls = calls
        self._open = asyncio.Event()

    async def opened(self, *, within_s: float) -> None:
        """Wait until there is a stream to answer to: what is answered before finds nobody, and is lost.

        Raises:
            BusUnavailable: the state server did not open it in time.
        """
        if self._open.is_set():
            return
        try:
            async with asyncio.timeout(within_s):
                await self._open.wait()
        except TimeoutError:
            raise BusUnavailable("the state server has not opened this process's reply stream yet") from None

    async def run(self) -> None:
        """Read until cancelled."""
        after = "0-0"
        while True:
            try:
                if await self._transport.open_replies(self._process, read_to=after):
                    after = "0-0"
                    if self._open.is_set():
                        self._calls.lose()
                self._open.set()
                async for batch in self._until_renewal(after):
                    for entry in batch:
                        after = entry.id
                        await self._deliver(entry)
            except BusUnavailable:
                await asyncio.sleep(PAUSE_S)

    async def close(self) -> None:
        """Delete the reply stream: nobody will read it any more."""
        await self._transport.close_replies(self._process)

    async def _until_renewal(self, after: str) -> AsyncIterator[Sequence[Entry]]:
        """Yield replies until it is time to renew the stream's life and to drop what has been read."""
        renewed, read = time.monotonic(), 0
        async for batch in self._transport.replies(self._process, after=after):
            yield batch
            read += len(batch)
            # A server that came back empty between two reads does not say so: the stream is gone, and stays silent.
            unsure = not batch and self._calls.waiting
            if unsure or read >= RENEW_AFTER or time.monotonic() - renewed > RENEW_S:
                return

    async def _deliver(self, entry: Entry) -> None:
        try:
            envelope = Envelope.from_fields(entry.fields, entry_id=entry.id)
        except EnvelopeError as error:
            log.warning("an entry of the reply stream is dropped: %s", error)
            return
        try:
            message = decoded(envelope) if is_whole(envelope) else await self._payloads.message(envelope)
        except BusUnavailable as error:
            self._calls.deliver(envelope, error)
            return
        except PayloadError as error:
            self._calls.deliver(envelope, WrongAnswer(f"a reply of type {envelope.type} cannot be read: {error}"))
            return
        self._calls.deliver(envelope, message)
