"""The port that services see: publish, subscribe, request, follow, append."""

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol, Self, TypeVar

import anyio
from opentelemetry.trace import NoOpTracer, Tracer
from pydantic import ValidationError

from archive_blobs import BlobError, BlobRef, Blobs, BlobStoreDown
from archive_bus._calls import Call, Calls
from archive_bus._consumer import Consumer
from archive_bus._delivery import Delivery, Handler, Origin, Received
from archive_bus._errors import BusError, BusUnavailable, NotInMap, PayloadError
from archive_bus._tracing import receiving, sending, traceparent_of
from archive_bus._transport import Entry, Lane, Transport
from archive_contracts.base import Failed, Message, Problem
from archive_contracts.control import CancelRequested
from archive_contracts.envelope import BLOB_PREFIX, INLINE_LIMIT, Envelope, EnvelopeError, stamp
from archive_contracts.streams import CONTROL, REPLIES, TYPES, Server, Stream

log = logging.getLogger(__name__)

A = TypeVar("A", bound=Message)


class Bind(Protocol):
    """Puts the identity of a message into the log context."""

    def __call__(self, *, correlation: str, message_id: str, tenant: str) -> AbstractContextManager[object]:
        """Return a context manager around the handler."""
        ...


def _unbound(*, correlation: str, message_id: str, tenant: str) -> AbstractContextManager[object]:
    del correlation, message_id, tenant
    return nullcontext()


TOMBSTONE_LIFE = timedelta(hours=1)
STALE_LOOP_S = 30.0
RENEW_REPLIES_S = 10.0
RENEW_AFTER_REPLIES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class BusOptions:
    """How a service uses the bus.

    ``grace_s`` is how long a drain lets running handlers finish; ``patience_s`` how long a publish waits for a server
    that is away; ``bind`` puts a message's identity into the log context while its handler runs.
    """

    service: str
    grace_s: float = 10.0
    patience_s: float = 30.0
    tracer: Tracer | None = None
    bind: Bind = _unbound


class Bus:
    """A service's connection to everything else.

    Enter it, subscribe, and leave it to drain: what runs finishes within the grace, the rest is handed back.
    """

    def __init__(self, transport: Transport, options: BusOptions, *, blobs: Blobs | None = None) -> None:
        self.service = options.service
        self.process = f"{options.service}-{os.getpid()}-{secrets.token_hex(3)}"
        self._transport = transport
        self._options = options
        self._tracer = None if isinstance(options.tracer, NoOpTracer) else options.tracer
        self._blobs = blobs
        self._calls = Calls()
        self._consumers: list[Consumer] = []
        self._scopes: dict[str, set[anyio.CancelScope]] = {}

    async def __aenter__(self) -> Self:
        await self._transport.start()
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._background = [self._tasks.create_task(self._read_replies())]
        if self.service in CONTROL.followers:
            self._background.append(self._tasks.create_task(self._obey_control()))
        return self

    async def __aexit__(self, *exc: object) -> None:
        with anyio.CancelScope(shield=True):
            async with asyncio.TaskGroup() as drains:
                for consumer in self._consumers:
                    drains.create_task(consumer.drain(self._options.grace_s))
            for task in self._background:
                task.cancel()
            try:
                await self._tasks.__aexit__(None, None, None)
            finally:
                with contextlib.suppress(BusUnavailable):
                    await self._transport.close_replies(self.process)
                await self._transport.stop()

    # -- work --------------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        stream: Stream,
        handlers: Mapping[type[Message], Handler[Any]],
        *,
        partition: str = "0",
        concurrency: int = 16,
        prefetch: int | None = None,
    ) -> None:
        """Handle messages of a stream in this service's group of the map, up to ``concurrency`` at a time.

        ``prefetch`` bounds how many are read at once; 1 makes a lane's worker take a job only with a free slot.

        Raises:
            NotInMap: the map does not name this service as a consumer of these types.
        """
        allowed = stream.consumers.get(self.service, ())
        if foreign := [model.type for model in handlers if model not in allowed]:
            raise NotInMap(f"{self.service} is no consumer of {', '.join(foreign)} on {stream.name}")
        lane = Lane(stream=stream, partition=partition, group=self.service, consumer=self.process)

        async def run(envelope: Envelope, message: Message, attempt: int, redelivered: bool) -> None:
            with self._context(stream, envelope) as traceparent:
                delivery = Delivery(
                    self, envelope, message, attempt=attempt, redelivered=redelivered, traceparent=traceparent
                )
                await handlers[type(message)](delivery)

        consumer = Consumer(
            lane=lane,
            transport=self._transport,
            handlers=handlers,
            run=run,
            refuse=self._refuse,
            load=self._load,
            concurrency=concurrency,
        )
        self._consumers.append(consumer)
        self._background.append(self._tasks.create_task(consumer.serve(prefetch=prefetch or concurrency)))

    @contextmanager
    def _context(self, stream: Stream, envelope: Envelope) -> Generator[str, None, None]:
        context = self._options.bind(
            correlation=envelope.correlation or envelope.id, message_id=envelope.id, tenant=envelope.tenant
        )
        with receiving(self._tracer, stream, envelope) as traceparent, context:
            yield traceparent

    async def _refuse(self, envelope: Envelope, problem: Problem) -> None:
        if envelope.reply:
            await self.reply(Failed(problem=problem), origin=Origin(tenant=envelope.tenant, reply=envelope.reply))

    # -- publishing --------------------------------------------------------------------------------------------------

    async def publish(
        self,
        message: Message,
        *,
        to: Stream,
        partition: str = "0",
        origin: Origin | None = None,
        id: str | None = None,  # noqa: A002 - CloudEvents' own word
        timeout: float | None = None,
    ) -> str:
        """Publish once for each id, waiting through an outage of the server. Returns the message id.

        Raises:
            NotInMap: the stream does not carry this type.
            BusUnavailable: the server did not answer within ``timeout`` (the service's patience by default).
        """
        if type(message) not in to.messages:
            raise NotInMap(f"{to.name} does not carry {message.type}")
        envelope = await self._seal(message, origin or Origin(), id)
        with sending(self._tracer, to, envelope) as sent:
            await self._transport.publish(to, partition, sent, timeout=timeout or self._options.patience_s)
        return envelope.id

    async def append(
        self,
        message: Message,
        *,
        to: Stream,
        entity: str,
        origin: Origin | None = None,
        id: str | None = None,  # noqa: A002
        expected: int | None = None,
        timeout: float | None = None,
    ) -> str:
        """Append to the journal of an entity, once for each id. Returns the entry's id.

        Raises:
            JournalConflict: the journal is not ``expected`` entries long.
            BusUnavailable: as publish.
        """
        envelope = await self._seal(message, origin or Origin(), id)
        patience = timeout or self._options.patience_s
        return await self._transport.append(to, entity, envelope, expected=expected, timeout=patience)

    def reply(self, message: Message, *, origin: Origin) -> Awaitable[bool]:
        """Write to a caller's reply stream; the order of calls is kept. False: nobody waits."""
        process, _, call = origin.reply.partition("/")
        if not process:
            return _nobody()
        envelope = Envelope(
            id=secrets.token_hex(8), type=message.type, subject=call, tenant=origin.tenant, data=message.to_json()
        )
        if len(envelope.data) > INLINE_LIMIT:
            return self._reply_large(process, envelope)
        return self._transport.reply(process, envelope, timeout=self._options.patience_s)

    async def _reply_large(self, process: str, envelope: Envelope) -> bool:
        stored = replace(envelope, data=await self._store(envelope.data))
        return await self._transport.reply(process, stored, timeout=self._options.patience_s)

    async def _seal(self, message: Message, origin: Origin, message_id: str | None) -> Envelope:
        data = message.to_json()
        return Envelope(
            id=message_id or secrets.token_hex(16),
            type=message.type,
            source=self.service,
            time=stamp(),
            traceparent=origin.traceparent or traceparent_of(),
            tracestate=origin.tracestate,
            correlation=origin.correlation,
            causation=origin.causation,
            deadline=origin.deadline,
            tenant=origin.tenant,
            shadow=origin.shadow,
            reply=origin.reply,
            data=data if len(data) <= INLINE_LIMIT else await self._store(data),
        )

    async def _store(self, data: bytes) -> bytes:
        if self._blobs is None:
            raise PayloadError(f"{len(data)} bytes are more than a message holds, and there is no blob store")
        try:
            return str(await self._blobs.put(data)).encode()
        except BlobStoreDown as error:
            raise BusUnavailable(f"the blob store that large messages need is away: {error}") from error
        except BlobError as error:
            raise PayloadError(f"the message cannot be stored: {error}") from error

    async def _load(self, envelope: Envelope) -> bytes:
        if not envelope.data.startswith(BLOB_PREFIX):
            return envelope.data
        if self._blobs is None:
            raise PayloadError("the message refers to a blob, and there is no blob store")
        try:
            return await self._blobs.read(BlobRef.parse(envelope.data.decode(errors="replace")))
        except BlobStoreDown as error:
            raise BusUnavailable(f"the blob store that holds the message is away: {error}") from error
        except BlobError as error:
            raise PayloadError(f"the message's blob cannot be read: {error}") from error

    # -- requests ----------------------------------------------------------------------------------------------------

    async def request(
        self,
        message: Message,
        answer: type[A],
        *,
        to: Stream,
        partition: str = "0",
        origin: Origin | None = None,
        timeout: float = 10.0,
    ) -> A:
        """Publish a message and return its one reply.

        Raises:
            RequestTimeout: no reply before the deadline.
            RequestFailed: the reply is a problem.
            BusUnavailable: the message could not be published.
            BusError: the reply is not an ``answer``.
        """
        async with self.open(message, to=to, partition=partition, origin=origin, timeout=timeout) as call:
            reply = await call.next()
        if not isinstance(reply, answer):
            raise BusError(f"{message.type} was answered by {reply.type}, not by {answer.type}")
        return reply

    @asynccontextmanager
    async def open(
        self,
        message: Message,
        *,
        to: Stream,
        partition: str = "0",
        origin: Origin | None = None,
        timeout: float = 10.0,
        publish_within: float | None = None,
    ) -> AsyncGenerator[Call, None]:
        """Publish a message and yield the call that its replies arrive on."""
        origin = origin or Origin()
        now = time.time()
        deadline = min(origin.deadline or 2**53, int((now + timeout) * 1000))
        call = Call(
            call_id=secrets.token_hex(8),
            message_id=secrets.token_hex(16),
            deadline=asyncio.get_running_loop().time() + deadline / 1000 - now,
        )
        self._calls.add(call)
        try:
            await self.publish(
                message,
                to=to,
                partition=partition,
                origin=replace(origin, deadline=deadline, reply=f"{self.process}/{call.id}"),
                id=call.message_id,
                timeout=min(publish_within or timeout, timeout),
            )
            yield call
        finally:
            self._calls.remove(call)

    async def _read_replies(self) -> None:
        key = REPLIES.physical(self.process)
        after, opened = "0-0", False
        while True:
            try:
                if await self._transport.open_replies(self.process, read_to=after):
                    after = "0-0"
                    if opened:
                        self._calls.lose()
                opened = True
                async for batch in self._until_renewal(key, after):
                    for entry in batch:
                        after = entry.id
                        await self._deliver_reply(entry)
            except BusUnavailable:
                await asyncio.sleep(0.1)

    async def _until_renewal(self, key: str, after: str) -> AsyncIterator[Sequence[Entry]]:
        """Yield replies until it is time to renew the stream's life and to drop what has been read."""
        renewed, read = time.monotonic(), 0
        async for batch in self._transport.tail(key, server=Server.STATE, after=after):
            yield batch
            read += len(batch)
            if read >= RENEW_AFTER_REPLIES or time.monotonic() - renewed > RENEW_REPLIES_S:
                return

    async def _deliver_reply(self, entry: Entry) -> None:
        try:
            envelope = Envelope.from_fields(entry.fields, entry_id=entry.id)
        except EnvelopeError as error:
            log.warning("an entry of the reply stream is dropped: %s", error)
            return
        try:
            message = TYPES[envelope.type].model_validate_json(await self._load(envelope))
        except (KeyError, ValidationError, PayloadError, BusUnavailable) as error:
            self._calls.deliver(envelope, BusError(f"a reply of type {envelope.type} cannot be read: {error}"))
            return
        self._calls.deliver(envelope, message)

    # -- following ---------------------------------------------------------------------------------------------------

    async def follow(
        self, stream: Stream, *, partition: str = "0", since: timedelta = timedelta(0)
    ) -> AsyncIterator[Received[Message] | None]:
        """Yield messages of a stream without a group, from ``since`` ago; None about once a second when none come."""
        # What comes after an id does not include it: the millisecond before, or one of this millisecond is missed.
        after = f"{max(0, int((time.time() - since.total_seconds()) * 1000) - 1)}-0"
        async for received in self._follow(stream.physical(partition), stream.server, after):
            yield received

    async def journal(self, stream: Stream, entity: str, *, after: str = "0-0") -> list[Received[Message]]:
        """Return the journal of an entity, after an entry's id."""
        entries = await self._transport.read(stream.physical(entity), server=stream.server, after=after, count=100_000)
        return [received for entry in entries if (received := await self._receive(entry))]

    async def follow_journal(
        self, stream: Stream, entity: str, *, after: str = "0-0"
    ) -> AsyncIterator[Received[Message] | None]:
        """Yield the journal of an entity from an entry's id on, as it grows; None about once a second when idle."""
        async for received in self._follow(stream.physical(entity), stream.server, after):
            yield received

    async def _follow(self, key: str, server: Server, after: str) -> AsyncIterator[Received[Message] | None]:
        while True:
            try:
                async for batch in self._transport.tail(key, server=server, after=after):
                    if not batch:
                        yield None
                    for entry in batch:
                        received = await self._receive(entry)
                        after = entry.id
                        if received:
                            yield received
            except BusUnavailable:
                yield None
                await asyncio.sleep(0.2)

    async def _receive(self, entry: Entry) -> Received[Message] | None:
        try:
            envelope = Envelope.from_fields(entry.fields, entry_id=entry.id)
            message = TYPES[envelope.type].model_validate_json(await self._load(envelope))
        except (EnvelopeError, KeyError, ValidationError, PayloadError) as error:
            log.warning("a followed entry cannot be read: %s", error)
            return None
        return Received(entry.id, envelope, message)

    # -- cancelling --------------------------------------------------------------------------------------------------

    async def cancel(self, target: str, *, reason: str = "", origin: Origin | None = None) -> None:
        """Ask whoever works on ``target`` to stop, also when it has not begun yet."""
        await self._transport.mark(f"cancelled:{target}", server=Server.BUS, lifetime=TOMBSTONE_LIFE)
        await self.publish(CancelRequested(target=target, reason=reason), to=CONTROL, origin=origin)

    async def cancelled(self, target: str) -> bool:
        """Whether somebody asked to stop ``target`` within the last hour."""
        return await self._transport.marked(f"cancelled:{target}", server=Server.BUS)

    def mark_begun(self, message_id: str) -> None:
        """Note, in order with the replies, that an answer to a message has begun."""
        self._transport.mark(f"begun:{message_id}", server=Server.STATE, lifetime=TOMBSTONE_LIFE)

    async def begun(self, message_id: str) -> bool:
        """Whether a run over this message, this one or an earlier, has begun to answer."""
        return await self._transport.marked(f"begun:{message_id}", server=Server.STATE)

    @contextmanager
    def cancellable(self, *targets: str) -> Generator[anyio.CancelScope, None, None]:
        """Run a block that ends when one of the targets is cancelled; see ``scope.cancelled_caught``.

        Check ``cancelled`` first: the request may be older than the block.
        """
        with anyio.CancelScope() as scope:
            for target in targets:
                self._scopes.setdefault(target, set()).add(scope)
            try:
                yield scope
            finally:
                for target in targets:
                    self._scopes[target].discard(scope)
                    if not self._scopes[target]:
                        del self._scopes[target]

    async def _obey_control(self) -> None:
        async for received in self.follow(CONTROL):
            if received and isinstance(received.message, CancelRequested):
                for scope in tuple(self._scopes.get(received.message.target, ())):
                    scope.cancel()

    # -- health ------------------------------------------------------------------------------------------------------

    async def check(self) -> str | None:
        """Return what keeps the bus from working, or None."""
        return await self._transport.check()

    def live(self) -> str | None:
        """Return which consume loop has stopped, or None; a server that is away stops none."""
        now = time.monotonic()
        for consumer in self._consumers:
            busy = consumer.in_flight > 0
            if not busy and now - consumer.progressed > STALE_LOOP_S:
                return f"the loop of {consumer.lane.key} has not moved for {now - consumer.progressed:.0f} s"
        return None

    def counters(self) -> Mapping[tuple[str, str], int]:
        """Return counts since the start by (stream, what): done, retried, dead, expired, lost_lease, handed_back."""
        return {
            (consumer.lane.stream.name, what): count
            for consumer in self._consumers
            for what, count in consumer.counts.items()
        }


async def _nobody() -> bool:
    return False
