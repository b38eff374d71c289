"""FastStream's batch subscriber as a pump of raw entries.

FastStream owns the broker and the reading connection. Its own loop stops for good when a group is lost, waits five
seconds after any error, and runs a message pipeline that costs ten times what our dispatch does; so the loop between
its reads is ours.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from faststream.middlewares import AckPolicy
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.subscriber.usecases import StreamBatchSubscriber
from redis.exceptions import ResponseError

from archive_bus._lease import clock
from archive_bus._transport import Entry, Feed, Lane
from archive_bus._writer import AWAY

log = logging.getLogger(__name__)

BLOCK_MS = 1000
"""Shorter than the socket's timeout, so that a dead connection is told from an empty stream."""
PAUSES_S = (0.05, 0.1, 0.2, 0.4)


Heal = Callable[[], Awaitable[None]]
Recover = Callable[[], Awaitable[Sequence[Entry]]]


async def pump(broker: RedisBroker, lane: Lane, feed: Feed, *, prefetch: int, heal: Heal, recover: Recover) -> None:
    """Read a lane and feed what comes, until cancelled.

    ``heal`` creates the stream and its groups; ``recover`` returns what this consumer owns: after a connection was lost
    some of it may never have arrived, and would wait for the end of its lease.
    """
    subscriber = broker.subscriber(
        stream=StreamSub(
            lane.key,
            group=lane.group,
            consumer=lane.consumer,
            batch=True,
            max_records=prefetch,
            polling_interval=BLOCK_MS,
        ),
        ack_policy=AckPolicy.MANUAL,
    )
    ended = asyncio.Event()
    subscriber.__class__ = _loop(feed, heal, recover, ended)
    subscriber(_unused)
    try:
        await _start(subscriber, heal)
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError  # redis-py lost it: a cancellation during its connect can vanish there
        await ended.wait()
    finally:
        reading = list(subscriber.tasks)
        await subscriber.stop()
        if reading:
            await asyncio.wait(reading)  # what it reads until then is the caller's to hand back


async def _start(subscriber: StreamBatchSubscriber, heal: Heal) -> None:
    failures = 0
    while True:
        try:
            await heal()
            await subscriber.start()
            return
        except AWAY:
            await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
            failures += 1


def _loop(feed: Feed, heal: Heal, recover: Recover, ended: asyncio.Event) -> type[StreamBatchSubscriber]:
    class Pump(StreamBatchSubscriber):
        __slots__ = ()

        async def _consume(self, *args: Any, start_signal: Any) -> None:
            start_signal.set()
            failures = 0
            while self.running:
                try:
                    await _caught_up(failures, feed, recover)
                    asked = clock()
                    reply = await args[0](">")
                except AWAY as error:
                    if failures == 0:
                        log.warning("%s: the server is away (%s)", self.stream_sub.name, error)
                    await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
                    failures += 1
                except ResponseError as error:
                    await self._mend(error)
                else:
                    failures = 0
                    await feed(_entries(reply, asked))
            ended.set()

        async def _mend(self, error: ResponseError) -> None:
            name = self.stream_sub.name
            if "NOGROUP" not in str(error) and "UNBLOCKED" not in str(error):
                log.error("%s: the server refuses to read: %s", name, error)
                await asyncio.sleep(1)
                return
            log.error("%s is gone with its group: unless it was dropped on purpose, its messages are lost", name)
            try:
                await heal()
            except AWAY:
                await asyncio.sleep(PAUSES_S[0])

    return Pump


async def _caught_up(failures: int, feed: Feed, recover: Recover) -> None:
    if failures:
        await feed(await recover())


def _entries(reply: Any, since: float) -> list[Entry]:
    return [Entry(entry[0].decode(), entry[1] or {}, since=since) for _, entries in reply or () for entry in entries]


async def _unused(batch: Any) -> None:
    """FastStream starts reading only for a subscriber that has a handler; ours is fed by the loop."""
