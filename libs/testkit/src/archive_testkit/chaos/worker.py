"""A process that handles what the publishers sent, as each message asks it to, and notes what the server accepts.

Usage: python -m archive_testkit.chaos.worker NAME URL FOLDER
"""

import asyncio
import itertools
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from archive_bus import Acked, Bus, BusOptions, Delivery, Feed, Lane, Reject, Transport
from archive_bus._redis import RedisTransport, RedisUrls
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted, ChatRequested
from archive_testkit.chaos.history import Ending, Recorder, What
from archive_testkit.chaos.said import announce
from archive_testkit.chaos.schedule import Act
from archive_testkit.chaos.ticking import tick
from archive_testkit.chaos.work import LEASE_S, OUTPUTS, Place, inputs

SECONDS = {
    Act.QUICK: 0.01,
    Act.SLOW: 0.3,
    Act.LONG: 1.5 * LEASE_S,
    Act.STUMBLE: 0.02,
    Act.POISON: 0.01,
    Act.REJECT: 0.0,
}
GRACE_S = 0.5


class Observed:
    """A transport that notes which acknowledgements the server takes."""

    def __init__(self, inner: Transport, notes: Recorder) -> None:
        self._inner = inner
        self._notes = notes
        self._messages: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def pump(self, lane: Lane, feed: Feed, **more: Any) -> None:
        """Feed as the inner one does, and remember which entry carries which message."""

        async def fed(entries: Sequence[Any]) -> None:
            self._remember(entries)
            await feed(entries)

        await self._inner.pump(lane, fed, **more)

    async def claim(self, lane: Lane, **more: Any) -> Sequence[Any]:
        """Claim as the inner one does."""
        entries = await self._inner.claim(lane, **more)
        self._remember(entries)
        return entries

    async def ack(self, lane: Lane, ids: Sequence[str]) -> Sequence[Acked]:
        """Acknowledge as the inner one does, and note what was taken."""
        since = time.monotonic()
        outcome = await self._inner.ack(lane, ids)
        for entry_id, taken in zip(ids, outcome, strict=True):
            message = self._messages.pop(entry_id, "")
            if taken is Acked.DONE and message:
                self._notes.note(What.ACK, message, since=since)
        return outcome

    def _remember(self, entries: Sequence[Any]) -> None:
        for entry in entries:
            self._messages[entry.id] = entry.fields.get(b"id", b"").decode()


class Handler:
    """Does what a message asks for, and notes the run."""

    def __init__(self, notes: Recorder) -> None:
        self._notes = notes
        self._numbers = itertools.count(1)

    async def __call__(self, delivery: Delivery[ChatRequested]) -> None:
        """Handle one message."""
        message, run = delivery.envelope.id, str(next(self._numbers))
        self._notes.note(What.START, message, run=run)
        ending = Ending.FAILED
        try:
            await self._work(delivery, run)
            ending = Ending.DONE
        except asyncio.CancelledError:
            ending = Ending.CANCELLED
            raise
        finally:
            self._notes.note(What.FINISH, message, run=run, detail=ending)

    async def _work(self, delivery: Delivery[ChatRequested], run: str) -> None:
        act = Act(delivery.message.model)
        await asyncio.sleep(SECONDS[act])
        if act is Act.POISON or (act is Act.STUMBLE and delivery.attempt == 1):
            raise ValueError(f"{act}: attempt {delivery.attempt}")
        if act is Act.REJECT:
            raise Reject(Problem(code="rejected", message="as the schedule wants it"))
        output = ChatCompleted(engine=self._notes.who, pool=run, model=act, session=delivery.envelope.id)
        await delivery.publish(output, to=OUTPUTS)


async def main(place: Place) -> None:
    """Work until terminated."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with Recorder(Path(place.folder), place.who) as notes:
        announce(notes)
        transport = Observed(RedisTransport(RedisUrls(bus=place.url, state=place.url)), notes)
        options = BusOptions(service="router", grace_s=GRACE_S)
        async with Bus(cast("Transport", transport), options) as bus, asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(tick(notes))
            bus.subscribe(inputs(), {ChatRequested: Handler(notes)}, concurrency=16)
            await stop.wait()
            ticking.cancel()


if __name__ == "__main__":
    asyncio.run(main(Place(*sys.argv[1:4])))
