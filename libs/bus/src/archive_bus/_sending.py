"""Putting messages into envelopes and envelopes on streams."""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from opentelemetry.trace import Tracer

from archive_bus._answers import Either, key_of
from archive_bus._delivery import Origin
from archive_bus._errors import BusError, Busy, LeaseLost, NotInMap
from archive_bus._ids import message_id as new_id
from archive_bus._large import Large
from archive_bus._lease import Lease, clock
from archive_bus._options import BusOptions
from archive_bus._payload import Payloads, fits
from archive_bus._timekeeper import Timekeeper, due_of
from archive_bus._tracing import sending, traceparent_of
from archive_bus._transport import Transport
from archive_bus._transport_parts import Due
from archive_bus._trimming import Trimmer
from archive_contracts.base import Message
from archive_contracts.envelope import Envelope, stamp
from archive_contracts.streams import ANSWERS, Stream

T = TypeVar("T")

ROOM_PAUSE_S = 0.1


class Sender:
    """Publishes in the name of one service."""

    def __init__(
        self,
        transport: Transport,
        options: BusOptions,
        payloads: Payloads,
        *,
        timekeeper: Timekeeper,
        trimmer: Trimmer,
        tracer: Tracer | None,
    ) -> None:
        self._transport = transport
        self._timekeeper = timekeeper
        self._trimmer = trimmer
        self._options = options
        self._payloads = payloads
        self._tracer = tracer
        # One call hears from few processes: its replies need ids of their own, but not random ones.
        self._name, self._count = secrets.token_hex(8), itertools.count()

    async def publish(
        self,
        message: Message,
        *,
        to: Stream,
        partition: str,
        origin: Origin,
        message_id: str | None,
        timeout: float | None,
        lease: Lease | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
    ) -> str:
        """Publish once for each id. Returns the message id; raises as Bus.publish."""
        due = due_of(to, delay=delay, at=at)
        if type(message) not in to.messages:
            raise NotInMap(f"{to.name} does not carry {message.type}")
        partition = partition or to.partition_of(message)
        self._trimmer.published(to, partition)
        data = message.to_json()
        if not fits(data):
            data = await self._payloads.fit(data)
        envelope = self._seal(message, origin, message_id, data, subject=to.key_of(message))
        patience = timeout or self._options.patience_s
        if self._tracer is None:
            await self._put(to, partition, envelope, patience, lease, due)
            return envelope.id
        with sending(self._tracer, to, envelope) as sent:
            await self._put(to, partition, sent, patience, lease, due)
        return envelope.id

    def _put(
        self, to: Stream, partition: str, envelope: Envelope, patience_s: float, lease: Lease | None, due: Due | None
    ) -> Awaitable[object]:
        add = self._transport.publish if due is None else partial(self._delay, due=due)
        if lease is None and not self._options.limits.patience_s:
            return add(to, partition, envelope, timeout=patience_s, lease=lease)
        return self._patiently(lambda: add(to, partition, envelope, timeout=patience_s, lease=lease), patience_s, lease)

    async def _patiently(self, add: Callable[[], Awaitable[T]], patience_s: float, lease: Lease | None) -> T:
        """Add something as soon as there is room for it, while the lease is ours. Raises Busy when none comes free."""
        waits_until = clock() + min(patience_s, self._options.limits.patience_s)
        while True:
            if lease:
                await lease.confirm()
            try:
                return await add()
            except LeaseLost:
                # It ended during an outage: renewed when nobody has taken the message meanwhile.
                if lease:
                    await lease.confirm(renew=True)
                await asyncio.sleep(ROOM_PAUSE_S)  # the server's clock was set, if it goes on like this
            except Busy:
                if clock() >= waits_until:
                    raise
                await asyncio.sleep(ROOM_PAUSE_S)

    async def _delay(
        self, to: Stream, partition: str, envelope: Envelope, *, due: Due, timeout: float, lease: Lease | None
    ) -> None:
        left = await self._transport.timers.delay(to, partition, envelope, due=due, timeout=timeout, lease=lease)
        self._timekeeper.watch(to, partition, within_s=left or 0.0)

    async def append(
        self,
        message: Message,
        *,
        to: Stream,
        entity: str,
        origin: Origin,
        message_id: str | None,
        expected: int | None,
        timeout: float | None,
        lease: Lease | None = None,
    ) -> str:
        """Append to a journal once for each id, and tell its listing. Returns the entry's id; raises as Bus.append."""
        envelope = self._seal(message, origin, message_id, await self._payloads.fit(message.to_json()))
        patience = timeout or self._options.patience_s
        append = partial(self._transport.append, to, entity, envelope, expected=expected, timeout=patience, lease=lease)
        entry = await self._patiently(append, patience, lease)
        if to.listing and type(message) in to.listing.messages:
            await self._put(to.listing, "0", envelope, patience, lease, None)
        return entry

    def enter(self, tasks: asyncio.TaskGroup) -> None:
        """Store large replies in the background of these tasks."""
        self._tasks = tasks

    def reply(
        self,
        message: Message,
        *,
        origin: Origin,
        seq: int = 0,
        last: bool = True,
        lease: Lease | None = None,
        behind: Large | None = None,
    ) -> Awaitable[bool]:
        """Write to a caller's reply stream and to the log of the answer; the order of calls is kept.

        A reply too large for an entry is a Large, and so is one that comes ``behind`` it.
        False: nobody waits, and nothing is kept.
        """
        if not (origin.reply or origin.log):
            return _nobody()
        envelope = Envelope.of(
            {
                "id": f"{self._name}{next(self._count):x}",
                "type": message.type,
                "subject": origin.reply.partition("/")[2],
                "tenant": origin.tenant,
                "seq": seq,
                "data": message.to_json(),
            }
        )
        if behind or not fits(envelope.data):
            tell = partial(self._tell, origin=origin, last=last, lease=lease)
            return Large(self._tasks.create_task(self._queue_large(envelope, behind, tell)))
        return self._tell(envelope, origin, last, lease)

    async def _queue_large(
        self, envelope: Envelope, behind: Large | None, tell: Callable[[Envelope], Awaitable[bool]]
    ) -> Awaitable[bool] | BusError:
        try:
            stored = replace(envelope, data=await self._payloads.fit(envelope.data))
            if behind:
                await behind.queued()
            return tell(stored)
        except BusError as error:
            return error  # told to whoever waits for it, or for one behind it

    def _tell(self, envelope: Envelope, origin: Origin, last: bool, lease: Lease | None) -> Awaitable[bool]:
        process, patience = origin.reply.partition("/")[0], self._options.patience_s
        # Kept before it is told: nobody has heard what another process could not go on from.
        kept = self._keep(envelope, origin, last, lease) if origin.log else None
        heard = self._transport.reply(process, envelope, timeout=patience, lease=lease) if process else None
        if kept and heard:
            return Either(heard, kept)
        return kept or heard or _nobody()

    def _keep(self, envelope: Envelope, origin: Origin, last: bool, lease: Lease | None) -> Awaitable[bool]:
        key, logs, patience = key_of(origin.tenant, origin.log), self._transport.answers, self._options.patience_s
        if last:
            return logs.end(key, envelope, life=ANSWERS.retention, timeout=patience, lease=lease)
        return logs.add(key, envelope, timeout=patience, lease=lease)

    def _seal(
        self, message: Message, origin: Origin, message_id: str | None, data: bytes, *, subject: str = ""
    ) -> Envelope:
        told: dict[str, object] = {
            "id": message_id or new_id(),
            "type": message.type,
            "source": self._options.service,
            "time": stamp(),
            **origin.inherited,
            "data": data,
        }
        if subject:
            told["subject"] = subject
        if not origin.traceparent and (parent := traceparent_of()):
            told["traceparent"] = parent
        return Envelope.of(told)


async def _nobody() -> bool:
    return False
