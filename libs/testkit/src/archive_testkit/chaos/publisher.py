"""A process that publishes until it is terminated, and then until all it has begun is accepted; more on SIGUSR1.

Usage: python -m archive_testkit.chaos.publisher NAME URL FOLDER SEED RATE
"""

# pyright: reportUnknownMemberType=false
# redis-py leaves its replies without types.

import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from archive_bus import Bus, BusError, BusOptions, connect, wire
from archive_contracts.chat import ChatRequested
from archive_contracts.envelope import Envelope, stamp
from archive_contracts.streams import Stream
from archive_testkit.chaos.history import Recorder, What
from archive_testkit.chaos.said import announce
from archive_testkit.chaos.schedule import DEADLY, Act, acts, surge_acts
from archive_testkit.chaos.ticking import tick
from archive_testkit.chaos.work import Place, inputs, once, ordered

PLAIN_LANES, KEYED_LANES, ONCE_LANES = 8, 4, 2
PLAIN_SHARE, KEYED_SHARE, ONCE_SHARE = 0.6, 0.25, 0.15
"""Of the rate."""
KEYS_A_LANE = 4
SURGE = 600
"""How many messages come at once when that is asked for: what keeps three workers busy for longer than a lease."""
DOUBLED_SHARE = 0.5
"""Of the messages that go through an inbox and end well, how many are added once more."""
AT_ONCE_S = 1.0
"""Patience of one publish: short, so that outages are met by publishing the same id again too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A message to be published; ``sequence`` is its place in its key."""

    name: str
    act: Act
    to: Stream
    key: str = "default"
    sequence: int = 0
    doubled: bool = False

    @property
    def message(self) -> ChatRequested:
        """The message itself."""
        return ChatRequested(body="{}", model=self.act, session=self.key, prompt_chars=self.sequence)


def plain(seed: int) -> Iterator[Piece]:
    """Yield plain work; lanes share it."""
    for number, act in enumerate(acts(seed)):
        yield Piece(name=f"{seed}-{number:06d}", act=act, to=inputs())


def keyed(seed: int, lane: int) -> Iterator[Piece]:
    """Yield what is ordered by key. A key belongs to one lane: its next message waits until the last is accepted."""
    chance, places = random.Random(f"keys {seed} {lane}"), [count(1) for _ in range(KEYS_A_LANE)]
    for number, act in enumerate(acts(seed, f" keyed {lane}")):
        which = chance.randrange(KEYS_A_LANE)
        yield Piece(
            name=f"{seed}-k{lane}-{number:06d}",
            act=act,
            to=ordered(),
            key=f"key-{lane}-{which}",
            sequence=next(places[which]),
        )


def through_inbox(seed: int) -> Iterator[Piece]:
    """Yield what is to have its effect once; lanes share it."""
    chance = random.Random(f"doubled {seed}")
    for number, act in enumerate(acts(seed, " once")):
        doubled = chance.random() < DOUBLED_SHARE and act not in DEADLY
        yield Piece(name=f"{seed}-o{number:06d}", act=act, to=once(), doubled=doubled)


def surging(seed: int) -> Iterator[Piece]:
    """Yield what comes in surges."""
    for number, act in enumerate(surge_acts()):
        yield Piece(name=f"{seed}-s{number:06d}", act=act, to=inputs())


class Publishing:
    """Publishes pieces until the end is asked for."""

    def __init__(self, bus: Bus, client: Any, notes: Recorder, stop: asyncio.Event) -> None:
        self._bus = bus
        self._client = client
        self._notes = notes
        self._stop = stop

    async def lane(self, work: Iterator[Piece], *, pause_s: float) -> None:
        """Publish one message after another."""
        while not self._stop.is_set():
            piece = next(work)
            await self._publish(piece)
            if piece.doubled:
                await self._double(piece)
            await asyncio.sleep(pause_s)

    async def surges(self, work: Iterator[Piece], asked: asyncio.Semaphore) -> None:
        """Publish many messages at once each time it is asked for."""
        while not self._stop.is_set():
            await asked.acquire()
            for _ in range(SURGE // PLAIN_LANES):
                if self._stop.is_set():
                    return
                await asyncio.gather(*(self._publish(piece) for piece in islice(work, PLAIN_LANES)))

    async def _publish(self, piece: Piece) -> None:
        self._notes.note(What.SENT, piece.name, detail=piece.act)
        while True:
            try:
                await self._bus.publish(piece.message, to=piece.to, id=piece.name, timeout=AT_ONCE_S)
            except BusError:
                await asyncio.sleep(0.1)
            else:
                key = piece.key if piece.sequence else ""
                self._notes.note(What.ACCEPTED, piece.name, key=key, sequence=piece.sequence)
                return

    async def _double(self, piece: Piece) -> None:
        """Add the message once more, past everything that keeps a publisher from doing so."""
        self._notes.note(What.DOUBLED, piece.name)
        envelope = Envelope(
            id=piece.name, type=ChatRequested.type, source="gateway", time=stamp(), data=piece.message.to_json()
        )
        with contextlib.suppress(RedisError, OSError):
            await self._client.xadd(piece.to.physical(), wire(envelope), nomkstream=True)


@contextlib.asynccontextmanager
async def _connected(place: Place, notes: Recorder, stop: asyncio.Event) -> AsyncGenerator[Publishing, None]:
    async with (
        connect(place.url, place.url, BusOptions(service="gateway")) as bus,
        Redis.from_url(place.url, socket_timeout=AT_ONCE_S, retry=None) as client,
    ):
        yield Publishing(bus, client, notes, stop)


async def main(place: Place, *, seed: int, rate: float) -> None:
    """Publish until terminated."""
    stop, surges, loop = asyncio.Event(), asyncio.Semaphore(0), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: (stop.set(), surges.release()))
    loop.add_signal_handler(signal.SIGUSR1, surges.release)
    with Recorder(Path(place.folder), place.who) as notes:
        announce(notes)
        async with _connected(place, notes, stop) as publishing, asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(tick(notes))
            async with asyncio.TaskGroup() as lanes:
                shared, doubled = plain(seed), through_inbox(seed)
                for _ in range(PLAIN_LANES):
                    lanes.create_task(publishing.lane(shared, pause_s=PLAIN_LANES / rate / PLAIN_SHARE))
                lanes.create_task(publishing.surges(surging(seed), surges))
                for lane in range(KEYED_LANES):
                    lanes.create_task(publishing.lane(keyed(seed, lane), pause_s=KEYED_LANES / rate / KEYED_SHARE))
                for _ in range(ONCE_LANES):
                    lanes.create_task(publishing.lane(doubled, pause_s=ONCE_LANES / rate / ONCE_SHARE))
            ticking.cancel()


if __name__ == "__main__":
    asyncio.run(main(Place(*sys.argv[1:4]), seed=int(sys.argv[4]), rate=float(sys.argv[5])))
