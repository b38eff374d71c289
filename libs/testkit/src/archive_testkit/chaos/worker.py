"""A process that handles what the publishers sent, as each message asks it to, and notes what the server accepts.

Usage: python -m archive_testkit.chaos.worker NAME URL FOLDER
"""

import asyncio
import itertools
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from archive_bus import Bus, BusOptions, BusUnavailable, Delivery, Reject, Transport
from archive_bus import Handler as AnyHandler
from archive_bus._redis import RedisTransport, RedisUrls
from archive_contracts.base import Message, Problem
from archive_contracts.chat import ChatCompleted, ChatRequested
from archive_testkit.chaos.history import Ending, Recorder, What
from archive_testkit.chaos.observed import Observed
from archive_testkit.chaos.said import announce
from archive_testkit.chaos.schedule import Act
from archive_testkit.chaos.ticking import tick
from archive_testkit.chaos.work import GROUP, INBOX, LEASE_S, OUTPUTS, Place, inputs, once, ordered

SECONDS = {
    Act.QUICK: 0.01,
    Act.SLOW: 0.3,
    Act.LONG: 1.5 * LEASE_S,
    Act.STUMBLE: 0.02,
    Act.POISON: 0.01,
    Act.REJECT: 0.0,
}
GRACE_S = 0.5


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
        except BusUnavailable:
            ending = Ending.POSTPONED
            raise
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
        output = ChatCompleted(
            engine=self._notes.who,
            pool=run,
            model=act,
            session=delivery.envelope.id,
            user_turn=delivery.envelope.subject,
            text=f"{delivery.message.prompt_chars} {delivery.fence}",
        )
        await delivery.publish(output, to=OUTPUTS)


async def main(place: Place) -> None:
    """Work until terminated."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with Recorder(Path(place.folder), place.who) as notes:
        announce(notes)
        transport = Observed(RedisTransport(RedisUrls(bus=place.url, state=place.url)), notes)
        options = BusOptions(service=GROUP, grace_s=GRACE_S)
        async with Bus(cast("Transport", transport), options) as bus, asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(tick(notes))
            handlers: Mapping[type[Message], AnyHandler[Any]] = {ChatRequested: Handler(notes)}
            bus.subscribe(inputs(), handlers, concurrency=16)
            bus.subscribe(ordered(), handlers, concurrency=8)
            bus.subscribe(once(), handlers, concurrency=8, inbox=INBOX)
            await stop.wait()
            ticking.cancel()


if __name__ == "__main__":
    asyncio.run(main(Place(*sys.argv[1:4])))
