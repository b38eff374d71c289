"""The port that services see: publish, subscribe, request, follow, append."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Self, TypeVar

import anyio
from opentelemetry.trace import NoOpTracer

from archive_blobs import Blobs
from archive_bus._answers import Answers
from archive_bus._asking import Asking
from archive_bus._callers import Callers
from archive_bus._calls import Calls
from archive_bus._cancelling import Cancels
from archive_bus._consumer import Consumer
from archive_bus._delivery import Handler, OnDead
from archive_bus._errors import BusError, NotInMap
from archive_bus._following import Follower
from archive_bus._gate import Gate
from archive_bus._handling import Work
from archive_bus._listening import Listening
from archive_bus._metrics import Metrics
from archive_bus._options import BusOptions
from archive_bus._ordered import OrderedConsumer
from archive_bus._owners import Owner
from archive_bus._partitions import Partitions
from archive_bus._payload import Payloads
from archive_bus._replies import ReplyReader
from archive_bus._sending import Sender
from archive_bus._subscription import Subscription, Subscriptions
from archive_bus._timekeeper import Timekeeper
from archive_bus._transport import Lane, Prefetch, Transport
from archive_bus._trimming import Trimmer, trimmed_by_consumer
from archive_bus._working import Working
from archive_contracts.base import Message
from archive_contracts.streams import CONTROL, Stream

A = TypeVar("A", bound=Message)

LOOK_S = 5.0
LEAVE_S = 2.0
"""How long the server is told of what ended last."""


class Bus(Asking, Listening):
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
        self._trimmer = Trimmer(transport, self._timekeeper, service=options.service)
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
        self._cancels = Cancels(transport, self._follower.receive)
        self._subscriptions = Subscriptions(grace_s=options.grace_s, left=self._trimmer.left)
        self._working = Working(
            bus=self, options=options, tracer=self._tracer, answers=self._answers, payloads=self._payloads
        )
        self._metrics = Metrics(self.service, self._subscriptions.samples)

    async def __aenter__(self) -> Self:
        await self._transport.start()
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._sender.enter(self._tasks)
        self._subscriptions.run_in(self._tasks)
        self._metrics.start()
        self._background = [
            self._tasks.create_task(self._look()),
            self._tasks.create_task(self._replies.run()),
            self._tasks.create_task(self._callers.watch()),
            self._tasks.create_task(self._timekeeper.run()),
            self._tasks.create_task(self._trimmer.run()),
            self._tasks.create_task(self._subscriptions.keep_telling()),
        ]
        if self.service in CONTROL.followers:
            self._background.append(self._tasks.create_task(self._cancels.obey()))
        return self

    async def __aexit__(self, *exc: object) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self._subscriptions.drain()
            finally:
                self._metrics.stop()
                await self._disconnect()

    async def _disconnect(self) -> None:
        self._subscriptions.stop()
        for task in self._background:
            task.cancel()
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            # A server that never let us in, or is away, has nothing of ours.
            for last in (self._subscriptions.tell, self._replies.close):
                with contextlib.suppress(BusError, TimeoutError):
                    async with asyncio.timeout(LEAVE_S):
                        await last()
            await self._transport.stop()

    # -- work --------------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        stream: Stream,
        handlers: Mapping[type[Message], Handler[Any]],
        *,
        partition: str = "",
        concurrency: int = 16,
        prefetch: int | Prefetch | None = None,
        slots: Gate | None = None,
        on_dead: Mapping[type[Message], OnDead[Any]] | None = None,
        inbox: timedelta | None = None,
    ) -> Subscription:
        """Handle messages of a stream in this service's group of the map, up to ``concurrency`` at a time.

        ``prefetch`` bounds how many are read at once; 1 makes a lane's worker take a job only with a free slot, and so
        does a function of what is ``spare`` in its gate, that is asked before each read.
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
        most = prefetch or concurrency
        reads = most if callable(most) else lambda: most
        work = partial(self._working.on, stream, handlers, on_dead or {}, inbox)
        if stream.ordered and not partition:
            return self._subscriptions.begin(self._sharing(lane, work, gate, concurrency), prefetch=reads)
        consumer = Consumer(
            lane=lane,
            transport=self._transport,
            work=work(0),
            gate=gate,
            concurrency=concurrency,
        )
        if trimmed_by_consumer(stream):
            self._timekeeper.watch(stream, lane.partition)
        self._trimmer.reads(stream, lane.partition)
        return self._subscriptions.begin(consumer, prefetch=reads)

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

    # -- health ------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Have what is wrong with the servers in the log from the start, not only once readiness is asked for."""
        while True:
            if await self.check() is None:
                return
            await asyncio.sleep(LOOK_S)

    async def check(self) -> str | None:
        """Return what keeps the bus from working, or None."""
        return await self._transport.check()

    def live(self) -> str | None:
        """Return which consume loop has stopped, or None; a server that is away stops none."""
        return self._subscriptions.live()

    def counters(self) -> Mapping[tuple[str, str], int]:
        """Return counts since the start by (stream, what): done, retried, dead, expired, lost_lease, handed_back."""
        return self._subscriptions.counters()
