"""What was cancelled is known: by those who listen without a question to the server, wherever that is certain."""

import asyncio

import pytest

from archive_bus import BusOptions, connect, open_client
from archive_bus._heard import LIFE_S, MOST, Heard
from archive_contracts.streams import CONTROL


class Clock:
    """Seconds that pass when told so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heard(clock: Clock) -> Heard:
    heard = Heard(clock)
    heard.caught_up(missed=False)
    heard.current(for_s=3.0)
    return heard


def test_listener_is_certain_both_ways(heard: Heard) -> None:
    heard.add("one")
    assert heard.knows("one") is True
    assert heard.knows("two") is False


def test_silent_channel_proves_nothing(heard: Heard, clock: Clock) -> None:
    heard.add("one")
    clock.now = 4.0
    assert heard.knows("one") is True
    assert heard.knows("two") is None


def test_gap_leaves_doubt_for_an_hour(heard: Heard, clock: Clock) -> None:
    heard.caught_up(missed=True)
    assert heard.knows("two") is None
    heard.caught_up(missed=False)
    assert heard.knows("two") is None
    clock.now = LIFE_S
    heard.current(for_s=3.0)
    assert heard.knows("two") is False


def test_newcomer_has_to_catch_up_first(clock: Clock) -> None:
    heard = Heard(clock)
    heard.current(for_s=3.0)
    assert heard.knows("two") is None


def test_crowd_of_cancellations_stays_bounded(heard: Heard, clock: Clock) -> None:
    for number in range(MOST + 1):
        heard.add(str(number))
    assert heard.knows("0") is None
    assert heard.knows("1") is True
    clock.now = LIFE_S + 1
    heard.current(for_s=3.0)
    heard.add("last")
    assert heard.knows("1") is False


async def asked(url: str) -> int:
    client = open_client(url)
    try:
        told = await client.info("commandstats")
    finally:
        await client.aclose()
    return int(told.get("cmdstat_exists", {}).get("calls", 0))


async def test_listener_asks_no_server(redis_url: str) -> None:
    async with connect(redis_url, redis_url, BusOptions(service="router")) as bus, asyncio.timeout(30):
        await bus.cancel("gone")
        before = -1
        while before != (before := await asked(redis_url)):
            assert not await bus.cancelled("here")
            await asyncio.sleep(0.05)
        while not await bus.cancelled("gone"):
            await asyncio.sleep(0.05)


async def test_trimmed_cancellations_are_still_known(redis_url: str) -> None:
    crowd = [f"target-{number}" for number in range(2 * (CONTROL.max_length or 1))]
    options = BusOptions(service="router")
    async with connect(redis_url, redis_url, options) as bus, asyncio.timeout(60):
        await asyncio.gather(*(bus.cancel(target) for target in crowd))
    async with connect(redis_url, redis_url, options) as bus, asyncio.timeout(60):
        assert all(await asyncio.gather(*(bus.cancelled(target) for target in crowd)))
        await asyncio.sleep(1.5)  # it has heard what is left by then
        assert await bus.cancelled(crowd[0])
        assert not await bus.cancelled("nobody")
