"""FastStream's batch subscriber as a pump of raw entries.

FastStream owns the broker, the subscription and the connections of both. Its own loop stops for good when a group is
lost, waits five seconds after any error, and runs a message pipeline that costs ten times what our dispatch does; so
the loop is ours, and reads over a link.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from faststream.middlewares import AckPolicy
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.subscriber.usecases import StreamBatchSubscriber
from redis.exceptions import ResponseError

from archive_bus._lease import clock
from archive_bus._link import AWAY, Link, entries_of, only_stream
from archive_bus._transport import Entry, Feed, Lane, Prefetch
from archive_bus._turns import let_begin

log = logging.getLogger(__name__)

BLOCK_MS = 1000
"""Shorter than the socket's timeout, so that a dead connection is told from an empty stream."""
PAUSES_S = (0.05, 0.1, 0.2, 0.4)


Heal = Callable[[], Awaitable[None]]
Recover = Callable[[], Awaitable[Sequence[Entry]]]
Read = Callable[[Link], Awaitable[Sequence[Entry]]]


async def pump(
    broker: RedisBroker, lane: Lane, feed: Feed, *, prefetch: Prefetch, heal: Heal, recover: Recover
) -> None:
    """Read a lane and feed what comes, until cancelled; what keeps it from reading on is raised.

    Also when nothing comes, and while the server is away, it is fed: with nothing.
    ``heal`` creates the stream and its groups; ``recover`` returns what this consumer owns: after a connection was lost
    some of it may never have arrived, and would wait for the end of its lease.
    """
    subscriber = broker.subscriber(
        stream=StreamSub(
            lane.key,
            group=lane.group,
            consumer=lane.consumer,
            batch=True,
            polling_interval=BLOCK_MS,
        ),
        ack_policy=AckPolicy.MANUAL,
    )
    read = partial(_read, lane=lane, prefetch=prefetch)
    subscriber.__class__ = _loop(lane.key, read, feed, heal=heal, recover=recover)
    subscriber(_unused)
    try:
        await _start(subscriber, lane.key, feed, heal)
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError  # redis-py lost it: a cancellation during its connect can vanish there
        # FastStream would log what ends its task, and the service go on deaf.
        over, _ = await asyncio.wait(subscriber.tasks, return_when=asyncio.FIRST_COMPLETED)
        for reader in over:
            reader.result()
    finally:
        reading = list(subscriber.tasks)
        await subscriber.stop()
        if reading:
            await asyncio.wait(reading)  # what it reads until then is the caller's to hand back


async def _start(subscriber: StreamBatchSubscriber, name: str, feed: Feed, heal: Heal) -> None:
    failures = 0
    while True:
        try:
            await heal()
            await subscriber.start()
            return
        except (*AWAY, ResponseError) as error:
            # A server whose memory or disk is full refuses FastStream's own XGROUP CREATE, of a group that is there.
            await _wait_out(error, failures, name)
            await feed(())
            failures += 1


def _loop(name: str, read: Read, feed: Feed, *, heal: Heal, recover: Recover) -> type[StreamBatchSubscriber]:
    class Pump(StreamBatchSubscriber):
        __slots__ = ()

        async def _consume(self, *args: Any, start_signal: Any) -> None:
            start_signal.set()
            link = Link(self._client.connection_pool)
            try:
                await self._run(link)
            finally:
                await link.close()

        async def _run(self, link: Link) -> None:
            failures = 0
            while self.running:
                try:
                    await _caught_up(failures, feed, recover)
                    entries = await read(link)
                except AWAY as error:
                    await _wait_out(error, failures, name)
                    await feed(())
                    failures += 1
                except ResponseError as error:
                    await self._mend(error)
                else:
                    failures = 0
                    await feed(entries)
                    await let_begin(entries)

        async def _mend(self, error: ResponseError) -> None:
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


async def _wait_out(error: Exception, failures: int, name: str) -> None:
    if failures == 0:
        log.warning("%s: the server is away or refuses (%s)", name, error)
    await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])


async def _read(link: Link, *, lane: Lane, prefetch: Prefetch) -> list[Entry]:
    """Return what is new, nothing when nothing comes within a second."""
    asked = clock()
    group = ("GROUP", lane.group, lane.consumer, "COUNT", prefetch())
    reply = await link.call("XREADGROUP", *group, "BLOCK", BLOCK_MS, "STREAMS", lane.key, ">", wait_s=BLOCK_MS / 1000)
    return [Entry(entry_id, fields, asked) for entry_id, fields in entries_of(only_stream(reply))]


async def _unused(batch: Any) -> None:
    """FastStream starts reading only for a subscriber that has a handler; ours is fed by the loop."""
