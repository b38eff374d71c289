"""Streamed answers that are kept for a while, so that any process can go on where another stopped."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Generator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from archive_bus._delivery import Origin
from archive_bus._errors import BusUnavailable, NoSuchLog, PayloadError
from archive_bus._payload import Payloads
from archive_bus._transport import Entry, Transport
from archive_contracts.base import Message
from archive_contracts.envelope import Envelope, EnvelopeError
from archive_contracts.streams import ANSWERS

PAUSE_S = 0.2
WHOLE_LOG = 1_000_000


@dataclass(frozen=True, slots=True)
class Answered:
    """One message of an answer at its place; nothing comes after the ``last``."""

    seq: int
    message: Message
    last: bool


@lru_cache(maxsize=1024)  # asked for each piece of an answer
def key_of(tenant: str, log_id: str) -> str:
    """Return where the log of an answer lies: the tenant is part of the address, so nobody else's can be named."""
    return ANSWERS.physical(blake2b(f"{tenant}\n{log_id}".encode(errors="replace"), digest_size=16).hexdigest())


class Answers:
    """Opens logs for callers and reads them for whoever resumes."""

    def __init__(self, transport: Transport, payloads: Payloads) -> None:
        self._transport = transport
        self._payloads = payloads

    async def open(self, origin: Origin, *, life: timedelta) -> None:
        """Create the log of an answer that may take ``life``.

        Before the request is published, so that whoever resumes never meets a log that does not exist yet.
        """
        key = key_of(origin.tenant, origin.log)
        await self._transport.answers.open(key, life=life + ANSWERS.retention)

    async def told(self, envelope: Envelope) -> int:
        """Return how many replies to a message earlier runs have kept."""
        if not envelope.log:
            return 0
        reached = await self._transport.answers.reached(key_of(envelope.tenant, envelope.log))
        return reached.seq if reached else 0

    async def read(self, log_id: str, *, tenant: str, after: int) -> list[Answered]:
        """Return what is kept behind a place now."""
        key, read = key_of(tenant, log_id), list[Answered]()
        reached = await self._transport.answers.reached(key)
        if reached is None:
            raise NoSuchLog(f"no answer {log_id!r} is kept")
        if reached.seq <= after:
            return read
        for entry in await self._transport.read(key, server=ANSWERS.server, after=f"0-{after}", count=WHOLE_LOG):
            read.append(await self._read(entry, log_id, after + len(read)))
        if after + len(read) < reached.seq:
            raise NoSuchLog(f"what followed place {after + len(read)} of the answer {log_id!r} is kept no longer")
        return read

    async def follow(self, log_id: str, *, tenant: str, after: int) -> AsyncIterator[Answered | None]:
        """Yield an answer from a place on, to its end; outlives outages."""
        key, place = key_of(tenant, log_id), after
        while True:
            try:
                reached = await self._transport.answers.reached(key)
                if reached is None:
                    raise NoSuchLog(f"no answer {log_id!r} is kept")
                if reached.ended and reached.seq <= place:
                    return
                async for batch in self._transport.tail(key, server=ANSWERS.server, after=f"0-{place}"):
                    if not batch:
                        break
                    for entry in batch:
                        answered = await self._read(entry, log_id, place)
                        yield answered
                        place = answered.seq
                        if answered.last:
                            return
                yield None
            except BusUnavailable:
                yield None
                await asyncio.sleep(PAUSE_S)

    async def _read(self, entry: Entry, log_id: str, place: int) -> Answered:
        last, _, seq = entry.id.partition("-")
        if int(seq) != place + 1:
            raise NoSuchLog(f"answer {log_id!r} has lost what followed place {place}")
        try:
            message = await self._payloads.message(Envelope.from_fields(entry.fields, entry_id=entry.id))
        except (EnvelopeError, PayloadError) as error:
            raise NoSuchLog(f"place {seq} of answer {log_id!r} cannot be read: {error}") from error
        return Answered(seq=int(seq), message=message, last=last != "0")


class Either:
    """Whether a reply was heard or kept; need not be awaited."""

    __slots__ = ("_heard", "_kept")

    def __init__(self, heard: Awaitable[bool], kept: Awaitable[bool]) -> None:
        self._heard = heard
        self._kept = kept

    def __await__(self) -> Generator[Any, None, bool]:
        return self._wait().__await__()

    async def _wait(self) -> bool:
        heard = await self._heard
        return await self._kept or heard
