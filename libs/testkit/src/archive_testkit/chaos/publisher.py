"""A process that publishes until it is terminated, and then until all it has begun is accepted.

Usage: python -m archive_testkit.chaos.publisher NAME URL FOLDER SEED RATE
"""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from archive_bus import Bus, BusError, BusOptions, connect
from archive_contracts.chat import ChatRequested
from archive_testkit.chaos.history import Recorder, What
from archive_testkit.chaos.said import announce
from archive_testkit.chaos.schedule import Act, acts
from archive_testkit.chaos.ticking import tick
from archive_testkit.chaos.work import Place, inputs

LANES = 8
AT_ONCE_S = 1.0
"""Patience of one publish: short, so that outages are met by publishing the same id again too."""


async def publish(bus: Bus, notes: Recorder, name: str, act: Act) -> None:
    """Publish one message until it is accepted."""
    notes.note(What.SENT, name, detail=act)
    message = ChatRequested(body="{}", model=act)
    while True:
        try:
            await bus.publish(message, to=inputs(), id=name, timeout=AT_ONCE_S)
        except BusError:
            await asyncio.sleep(0.1)
        else:
            notes.note(What.ACCEPTED, name)
            return


async def lane(bus: Bus, notes: Recorder, work: Iterator[tuple[str, Act]], *, pause_s: float) -> None:
    """Publish one message after another."""
    for name, act in work:
        await publish(bus, notes, name, act)
        await asyncio.sleep(pause_s)


async def main(place: Place, *, seed: int, rate: float) -> None:
    """Publish until terminated."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    def work() -> Iterator[tuple[str, Act]]:
        for number, act in enumerate(acts(seed)):
            if stop.is_set():
                return
            yield f"{seed}-{number:06d}", act

    shared = work()
    with Recorder(Path(place.folder), place.who) as notes:
        announce(notes)
        async with connect(place.url, place.url, BusOptions(service="gateway")) as bus, asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(tick(notes))
            async with asyncio.TaskGroup() as lanes:
                for _ in range(LANES):
                    lanes.create_task(lane(bus, notes, shared, pause_s=LANES / rate))
            ticking.cancel()


if __name__ == "__main__":
    asyncio.run(main(Place(*sys.argv[1:4]), seed=int(sys.argv[4]), rate=float(sys.argv[5])))
