"""The port that services see: publish, subscribe, request, follow, append."""

import asyncio
import contextlib
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self, TypeVar

import anyio
from opentelemetry.trace import NoOpTracer

from archive_blobs import Blobs
from archive_bus._answers import Answered, Answers
from archive_bus._callers import Callers
from archive_bus._calls import Call, Calls
from archive_bus._cancelling import TOMBSTONE_LIFE, Cancels
from archive_bus._consumer import Consumer
from archive_bus._delivery import Delivery, Handler, OnDead, Origin, Received, Run
from archive_bus._errors import BusError, DeadlineExpired, NotInMap, WrongAnswer, WrongReturn
from archive_bus._following import Follower
from archive_bus._gate import Gate
from archive_bus._handling import HandlerRun, Work
from archive_bus._lease import Lease
from archive_bus._metrics import COUNTED, Metrics, Sample
from archive_bus._options import BusOptions
from archive_bus._ordered import OrderedConsumer
from archive_bus._owners import Owner
from archive_bus._partitions import Partitions
from archive_bus._payload import Payloads
from archive_bus._replies import ReplyReader
from archive_bus._sending import Sender
from archive_bus._timekeeper import Timekeeper, due_of
from archive_bus._tracing import receiving
from archive_bus._transport import Lane, Transport
from archive_bus._trimming import Trimmer, trimmed_by_consumer
from archive_contracts.base import Failed, Message, Problem
from archive_contracts.control import CancelRequested
from archive_contracts.envelope import Envelope
from archive_contracts.streams import CONTROL, Server, Stream

A = TypeVar("A", bound=Message)

STALE_LOOP_S = 30.0
OPEN_S = 5.0
"""How long a process's first request waits at least until it can be answered; its own time begins then."""


class Subscription:
    """The handling of one partition, which ends with the bus, or earlier when it is closed."""

    def __init__(self, end: Callable[[], Awaitable[None]]) -> None:
        self._end: Callable[[], Awaitable[None]] | None = end

    async def close(self) -> None:
        """Take nothing new, let what runs finish within the grace, hand the rest back; once."""
        end, self._end = self._end, None
        if end:
            await end()


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
        self._payloads = Payloads(blobs)
        self._timekeeper = Timekeeper(transport)
        self._trimmer = Trimmer(transport, service=options.service)
        self._sender = Sender(
            transport,
            options,
            self._payloads,
            timekeeper=self._timekeeper,
            trimmer=self._trimmer,
            tracer=self._tracer,
        )
        self._calls = Calls()
        self._replies = ReplyReader(transport, self._payloads, process=self.process, calls=self._calls)
        self._follower = Follower(transport, self._payloads)
        self._answers = Answers(transport, self._payloads)
        self._callers = Callers(transport)
        self._cancels = Cancels(transport)
        self._consumers: list[Consumer | Partitions] = []
        self._metrics = Metrics(self.service, self._samples)

    async def __aenter__(self) -> Self:
        await self._transport.start()
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        for stream, partition in self._trimmer.outputs:
            self._timekeeper.watch(stream, partition)
        self._metrics.start()
        self._background = [
            self._tasks.create_task(self._replies.run()),
            self._tasks.create_task(self._callers.watch()),
            self._tasks.create_task(self._timekeeper.run()),
            self._tasks.create_task(self._trimmer.run()),
        ]
        if self.service in CONTROL.followers:
            self._background.append(self._tasks.create_task(self._cancels.obey(self.follow(CONTROL))))
        return self

    async def __aexit__(self, *exc: object) -> None:
        with anyio.CancelScope(shield=True):
            try:
                async with asyncio.TaskGroup() as drains:
                    for consumer in self._consumers:
                        drains.create_task(consumer.drain(self._options.grace_s))
            finally:
                self._metrics.stop()
                await self._disconnect()

    async def _disconnect(self) -> None:
        for task in self._background:
            task.cancel()
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            with contextlib.suppress(BusError):  # a server that never let us in, or is away, has nothing of ours
                await self._replies.close()
            await self._transport.stop()

    # -- work --------------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        stream: Stream,
        handlers: Mapping[type[Message], Handler[Any]],
        *,
        partition: str = "",
        concurrency: int = 16,
        prefetch: int | None = None,
        slots: Gate | None = None,
        on_dead: Mapping[type[Message], OnDead[Any]] | None = None,
        inbox: timedelta | None = None,
    ) -> Subscription:
        """Handle messages of a stream in this service's group of the map, up to ``concurrency`` at a time.

        ``prefetch`` bounds how many are read at once; 1 makes a lane's worker take a job only with a free slot.
        ``slots`` is a gate that others enter too: what they take is not there for this subscription. Of a stream that
        is ordered by key this process reads its share of the partitions.
        ``on_dead`` runs when a message of its type is given up, also one that killed every process that ran it and so
        can tell nobody itself; it has to end what waits for the message, such as a job, and must be quick and safe.
        For as long as ``inbox`` the group remembers what it has handled, and a message that comes again does nothing;
        a service that keeps its effects in a database of its own uses ``once`` there instead.

        Raises:
            NotInMap: the map does not name this service as a consumer of these types.
        """
        allowed = stream.consumers.get(self.service, ())
        if foreign := [model.type for model in handlers if model not in allowed]:
            raise NotInMap(f"{self.service} is no consumer of {', '.join(foreign)} on {stream.name}")
        lane = Lane(stream=stream, partition=partition or "0", group=self.service, consumer=self.process)
        gate = slots or Gate(concurrency)
        prefetch = prefetch or concurrency
        work = partial(self._work, stream, handlers, on_dead or {}, inbox)
        if stream.ordered and not partition:
            return self._begin(self._sharing(lane, work, gate, concurrency), prefetch)
        consumer = Consumer(
            lane=lane,
            transport=self._transport,
            work=work(0),
            gate=gate,
            concurrency=concurrency,
        )
        if trimmed_by_consumer(stream):
            self._timekeeper.watch(stream, lane.partition)
        return self._begin(consumer, prefetch)

    def _sharing(self, lane: Lane, work: Callable[[int], Work], gate: Gate, concurrency: int) -> Partitions:
        """Return the sharing of an ordered stream; its partitions run beside each other, through one gate."""

        def build(lane: Lane, owner: Owner) -> OrderedConsumer:
            return OrderedConsumer(
                lane=lane,
                transport=self._transport,
                work=work(owner.fence),
                gate=gate,
                concurrency=concurrency,
                owner=owner,
            )

        if trimmed_by_consumer(lane.stream):
            for partition in range(lane.stream.partitions):
                self._timekeeper.watch(lane.stream, str(partition))
        return Partitions(lane, self._transport, build, grace_s=self._options.grace_s)

    def _begin(self, consumer: Consumer | Partitions, prefetch: int) -> Subscription:
        serving = self._tasks.create_task(consumer.serve(prefetch=prefetch))
        self._consumers.append(consumer)
        self._background.append(serving)

        async def end() -> None:
            self._consumers.remove(consumer)
            await consumer.drain(self._options.grace_s)
            serving.cancel()
            self._background.remove(serving)

        return Subscription(end)

    def _work(
        self,
        stream: Stream,
        handlers: Mapping[type[Message], Handler[Any]],
        on_dead: Mapping[type[Message], OnDead[Any]],
        inbox: timedelta | None,
        fence: int,
    ) -> Work:
        bind, tracer = self._options.bind, self._tracer

        async def within(envelope: Envelope, message: Message, run: HandlerRun, act: Handler[Any]) -> None:
            told = await self._answers.told(envelope) if run.redelivered else 0
            facts = Run(
                attempt=run.attempt,
                redelivered=run.redelivered,
                traceparent=envelope.traceparent,
                told=told,
                fence=fence,
                lease=run.lease,
            )
            bound = bind(
                correlation=envelope.correlation or envelope.id, message_id=envelope.id, tenant=envelope.tenant
            )
            if tracer is None:
                with bound:
                    returned: object = await act(Delivery(self, envelope, message, run=facts))
            else:
                with receiving(tracer, stream, envelope) as facts.traceparent, bound:
                    returned = await act(Delivery(self, envelope, message, run=facts))
            if returned is not None:
                raise WrongReturn(f"the handler of {envelope.type} returned a {type(returned).__name__}")

        def handle(envelope: Envelope, message: Message, run: HandlerRun) -> Awaitable[None]:
            return within(envelope, message, run, handlers[type(message)])

        async def bury(envelope: Envelope, message: Message, run: HandlerRun, problem: Problem) -> None:
            if react := on_dead.get(type(message)):
                await within(envelope, message, run, lambda delivery: react(delivery, problem))

        return Work(handlers=handlers, run=handle, refuse=self._refuse, bury=bury, payloads=self._payloads, inbox=inbox)

    async def _refuse(self, envelope: Envelope, problem: Problem, lease: Lease) -> None:
        if envelope.reply or envelope.log:
            origin = Origin(tenant=envelope.tenant, reply=envelope.reply, log=envelope.log)
            await self.reply(Failed(problem=problem), origin=origin, lease=lease)

    # -- publishing --------------------------------------------------------------------------------------------------

    async def publish(
        self,
        message: Message,
        *,
        to: Stream,
        partition: str = "",
        origin: Origin | None = None,
        id: str | None = None,  # noqa: A002 - CloudEvents' own word
        timeout: float | None = None,
        lease: Lease | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
    ) -> str:
        """Publish once for each id, waiting through an outage of the server. Returns the message id.

        Under a ``lease`` the message is an output of the one the lease is on, and ends with it. With ``delay`` or
        ``at`` consumers see it then, and never earlier, by the server's clock.

        Raises:
            NotInMap: the stream does not carry this type, or is not read by groups and cannot delay.
            LeaseLost: another process has taken over the message that this is an output of.
            BusUnavailable: the server did not answer within ``timeout`` (the service's patience by default).
        """
        return await self._sender.publish(
            message,
            to=to,
            partition=partition,
            origin=origin or Origin(),
            message_id=id,
            timeout=timeout,
            lease=lease,
            due=due_of(to, delay=delay, at=at),
        )

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
        lease: Lease | None = None,
    ) -> str:
        """Append to the journal of an entity, once for each id. Returns the entry's id.

        Raises:
            JournalConflict: the journal is not ``expected`` entries long.
            BusUnavailable, LeaseLost: as publish.
        """
        return await self._sender.append(
            message,
            to=to,
            entity=entity,
            origin=origin or Origin(),
            message_id=id,
            expected=expected,
            timeout=timeout,
            lease=lease,
        )

    def reply(
        self, message: Message, *, origin: Origin, seq: int = 0, last: bool = True, lease: Lease | None = None
    ) -> Awaitable[bool]:
        """Write to a caller's reply stream and the log of the answer, in the order of the calls.

        ``seq`` is the place in the answer, and counts where it is kept. False: nobody waits, and nothing is kept.
        """
        return self._sender.reply(message, origin=origin, seq=seq, last=last, lease=lease)

    # -- requests ----------------------------------------------------------------------------------------------------

    async def request(
        self,
        message: Message,
        answer: type[A],
        *,
        to: Stream,
        partition: str = "",
        origin: Origin | None = None,
        timeout: float = 10.0,
        lease: Lease | None = None,
    ) -> A:
        """Publish a message and return its one reply.

        Raises:
            RequestTimeout: no reply before the deadline.
            RequestFailed: the reply is a problem.
            BusUnavailable: the message could not be published.
            WrongAnswer: the reply is not an ``answer``.
        """
        async with self.open(message, to=to, partition=partition, origin=origin, timeout=timeout, lease=lease) as call:
            reply = await call.next()
        if not isinstance(reply, answer):
            raise WrongAnswer(f"{message.type} was answered by {reply.type}, not by {answer.type}")
        return reply

    @asynccontextmanager
    async def open(
        self,
        message: Message,
        *,
        to: Stream,
        partition: str = "",
        origin: Origin | None = None,
        timeout: float = 10.0,
        publish_within: float | None = None,
        lease: Lease | None = None,
        id: str | None = None,  # noqa: A002 - CloudEvents' own word
    ) -> AsyncGenerator[Call, None]:
        """Publish a message and yield the call that its replies arrive on.

        With ``origin.log`` the replies are kept under that id as well, see ``follow_log``; the message takes the same
        id, so that whoever resumes the answer can cancel it.
        """
        origin = origin or Origin()
        await self._replies.opened(within_s=publish_within or max(timeout, OPEN_S))
        now = time.time()
        deadline = min(origin.deadline or 2**53, int((now + timeout) * 1000))
        if deadline <= now * 1000:
            raise DeadlineExpired("the deadline had passed before the request was sent")
        call = Call(
            call_id=secrets.token_hex(8),
            message_id=id or origin.log or secrets.token_hex(16),
            deadline=asyncio.get_running_loop().time() + deadline / 1000 - now,
        )
        self._calls.add(call)
        try:
            if origin.log:
                await self._answers.open(origin, life=timedelta(seconds=timeout))
            await self.publish(
                message,
                to=to,
                partition=partition,
                origin=replace(origin, deadline=deadline, reply=f"{self.process}/{call.id}"),
                id=call.message_id,
                timeout=min(publish_within or timeout, timeout),
                lease=lease,
            )
            yield call
        finally:
            self._calls.remove(call)

    # -- following ---------------------------------------------------------------------------------------------------

    def follow(
        self, stream: Stream, *, partition: str = "0", since: timedelta = timedelta(0)
    ) -> AsyncIterator[Received[Message] | None]:
        """Yield messages of a stream without a group, from ``since`` ago; None about once a second when none come."""
        return self._follower.recent(stream, partition, since)

    async def journal(self, stream: Stream, entity: str, *, after: str = "0-0") -> list[Received[Message]]:
        """Return the journal of an entity, after an entry's id."""
        return await self._follower.read(stream, entity, after)

    def follow_journal(
        self, stream: Stream, entity: str, *, after: str = "0-0"
    ) -> AsyncIterator[Received[Message] | None]:
        """Yield the journal of an entity from an entry's id on, as it grows; None about once a second when idle."""
        return self._follower.from_id(stream.physical(entity), stream.server, after)

    def follow_log(self, log_id: str, *, tenant: str = "default", after: int = 0) -> AsyncIterator[Answered | None]:
        """Yield an answer from a place on, as it grows, to its end; None about once a second when idle.

        Raises:
            NoSuchLog: the tenant has no such answer, or it was kept no longer.
        """
        return self._answers.follow(log_id, tenant=tenant, after=after)

    # -- cancelling --------------------------------------------------------------------------------------------------

    async def cancel(self, target: str, *, reason: str = "", origin: Origin | None = None) -> None:
        """Ask whoever works on ``target`` to stop, also when it has not begun yet."""
        await self._cancels.mark(target)
        await self.publish(CancelRequested(target=target, reason=reason), to=CONTROL, origin=origin)

    async def cancelled(self, target: str) -> bool:
        """Whether somebody asked to stop ``target`` within the last hour."""
        return await self._cancels.marked(target)

    def mark_begun(self, message_id: str) -> None:
        """Note, in order with the replies, that an answer to a message has begun."""
        self._transport.mark(f"begun:{message_id}", server=Server.STATE, lifetime=TOMBSTONE_LIFE)

    async def begun(self, message_id: str) -> bool:
        """Whether a run over this message, this one or an earlier, has begun to answer."""
        return await self._transport.marked(f"begun:{message_id}", server=Server.STATE)

    def cancellable(self, *targets: str) -> AbstractContextManager[anyio.CancelScope]:
        """Run a block that ends when one of the targets is cancelled; see ``scope.cancelled_caught``.

        Check ``cancelled`` first: the request may be older than the block.
        """
        return self._cancels.scope(*targets)

    def while_heard(self, process: str) -> AbstractContextManager[anyio.CancelScope]:
        """Run a block that ends when a calling process is gone; one without a name never is."""
        return self._callers.scope(process)

    # -- health ------------------------------------------------------------------------------------------------------

    async def check(self) -> str | None:
        """Return what keeps the bus from working, or None."""
        return await self._transport.check()

    def live(self) -> str | None:
        """Return which consume loop has stopped, or None; a server that is away stops none."""
        now = time.monotonic()
        for consumer in (each for subscribed in self._consumers for each in subscribed.consumers):
            busy = consumer.in_flight > 0
            if not busy and now - consumer.progressed > STALE_LOOP_S:
                return f"the loop of {consumer.lane.key} has not moved for {now - consumer.progressed:.0f} s"
        return None

    def _samples(self) -> Iterator[Sample]:
        for consumer in (each for subscribed in self._consumers for each in subscribed.consumers):
            counts = Counter({what: consumer.counts[what] for what in COUNTED})
            yield Sample(consumer.lane.stream.name, consumer.lane.partition, consumer.backlog, counts)

    def counters(self) -> Mapping[tuple[str, str], int]:
        """Return counts since the start by (stream, what): done, retried, dead, expired, lost_lease, handed_back."""
        counts: Counter[tuple[str, str]] = Counter()
        for consumer in self._consumers:
            counts.update({(consumer.lane.stream.name, what): count for what, count in consumer.counts.items()})
        return counts
