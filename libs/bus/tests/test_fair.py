"""Places that lanes share by weight."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from archive_bus import Fair, Gate
from archive_bus._fair import Share


async def compete(weights: list[int], slots: int, admissions: int) -> list[int]:
    """Return which lane each place went to while all lanes have a backlog."""
    fair, order = Fair(Gate(slots)), list[int]()

    async def lane(number: int, share: Share) -> None:
        while True:
            await share.enter()
            order.append(number)
            asyncio.get_running_loop().call_soon(share.leave)
            await share.free()

    async with asyncio.TaskGroup() as tasks:
        lanes = [tasks.create_task(lane(number, fair.share(weight))) for number, weight in enumerate(weights)]
        while len(order) < admissions:
            await asyncio.sleep(0)
        for each in lanes:
            each.cancel()
    return order[:admissions]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=4), st.integers(1, 3))
def test_backlogged_lanes_get_their_weights(weights: list[int], slots: int) -> None:
    rounds = 20
    got = Counter(asyncio.run(compete(weights, slots, sum(weights) * rounds)))
    assert all(abs(got[lane] - weight * rounds) <= weight + len(weights) for lane, weight in enumerate(weights))


async def test_idle_lane_saves_nothing_up() -> None:
    fair = Fair(Gate(1))
    steady, idle = fair.share(1), fair.share(1)
    for _ in range(50):
        await steady.enter()
        steady.leave()
        await steady.free()
    order: list[str] = []

    async def lane(name: str, share: Share) -> None:
        for _ in range(10):
            await share.enter()
            order.append(name)
            await asyncio.sleep(0)
            share.leave()
            await share.free()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(lane("steady", steady))
        tasks.create_task(lane("idle", idle))
    assert order[:10].count("steady") >= 4


async def test_suspect_of_one_lane_runs_alone_in_all() -> None:
    fair = Fair(Gate(2))
    one, two = fair.share(1), fair.share(1)
    await one.enter()
    async with one.alone():
        entering = asyncio.ensure_future(two.enter())
        await asyncio.sleep(0.01)
        assert not entering.done()
    await entering


async def test_spare_places_go_to_a_lone_lane() -> None:
    fair = Fair(Gate(8))
    one, two = fair.share(4), fair.share(1)
    await one.enter()
    assert one.spare == 7
    await two.enter()
    await two.free()  # it had a message, and reads for the next
    assert one.spare <= 1
