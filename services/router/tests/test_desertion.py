"""Nobody lives in any pool: which lanes have to be cleared by the router, and when."""

import asyncio

from archive_bus import BusOptions, connect
from archive_contracts.engine import EngineRegistered
from archive_router.domain.desertion import ABANDONED_S, LEASE_S, PATIENCE_S, Desertion
from archive_router.domain.lanes import Lanes
from archive_router.domain.route import Policy
from archive_router.handlers.routing import Clocks, Routing
from archive_router.handlers.stranded import tell_stranded
from archive_testkit.servers import RedisServer


def beat(worker: str, pool: str, *, directed: bool = False) -> EngineRegistered:
    return EngineRegistered(
        worker=worker, engine="e", pool=pool, models=(), capabilities=("chat",), slots=1, directed=directed
    )


def test_forsaken_lanes_are_told_once() -> None:
    desertion = Desertion()
    desertion.hear(beat("w1", "small", directed=True), now=0.0)
    desertion.hear(beat("w2", "embed"), now=1.0)
    assert desertion.lanes(2.0, anybody=False, asleep=()) == []
    found = desertion.lanes(2.0 + LEASE_S, anybody=False, asleep=())
    assert found == ["embed", "embed~batch", "small", "small:w1", "small~batch"]
    assert desertion.lanes(60.0, anybody=False, asleep=()) == []


def test_returning_worker_ends_desertion() -> None:
    desertion = Desertion()
    desertion.hear(beat("w1", "small"), now=0.0)
    assert desertion.lanes(1.0, anybody=False, asleep=()) == []
    assert desertion.lanes(1.0 + PATIENCE_S / 2, anybody=True, asleep=()) == []
    assert desertion.lanes(1.0 + PATIENCE_S, anybody=False, asleep=()) == []
    assert desertion.lanes(1.0 + 2 * PATIENCE_S, anybody=False, asleep=()) == ["small", "small~batch"]


def test_sleeping_pool_keeps_its_jobs() -> None:
    desertion = Desertion()
    for pool in ("gpu", "small"):
        desertion.hear(beat(f"w-{pool}", pool, directed=True), now=0.0)
    assert desertion.lanes(0.0, anybody=False, asleep={"gpu"}) == []
    found = desertion.lanes(LEASE_S, anybody=False, asleep={"gpu"})
    assert found == ["small", "small:w-small", "small~batch"]


def test_long_gone_worker_is_passed_over() -> None:
    desertion = Desertion()
    desertion.hear(beat("old", "small", directed=True), now=0.0)
    desertion.hear(beat("new", "small", directed=True), now=ABANDONED_S)
    assert desertion.lanes(ABANDONED_S, anybody=False, asleep=()) == []
    found = desertion.lanes(ABANDONED_S + LEASE_S, anybody=False, asleep=())
    assert "small:old" not in found
    assert "small:new" in found


def test_fast_beats_shorten_no_lease() -> None:
    desertion = Desertion()
    desertion.hear(beat("w1", "small"), now=0.0)
    assert desertion.lanes(1.0, anybody=False, asleep=()) == []
    assert desertion.lanes(LEASE_S - 1.0, anybody=False, asleep=()) == []
    assert desertion.lanes(LEASE_S, anybody=False, asleep=()) == ["small", "small~batch"]


def test_outage_is_no_silence() -> None:
    desertion = Desertion()
    desertion.hear(beat("w1", "small"), now=0.0)
    assert desertion.lanes(6.0, anybody=False, asleep=()) == []
    desertion.deaf_until(60.0)
    assert desertion.lanes(61.0, anybody=False, asleep=()) == []
    assert desertion.lanes(59.0 + LEASE_S, anybody=False, asleep=()) == []
    assert desertion.lanes(61.0 + LEASE_S, anybody=False, asleep=()) == ["small", "small~batch"]


def test_untold_callers_are_told_anew() -> None:
    desertion = Desertion()
    desertion.hear(beat("w1", "small"), now=0.0)
    assert desertion.lanes(6.0, anybody=False, asleep=()) == []
    told = desertion.lanes(60.0, anybody=False, asleep=())
    assert desertion.lanes(61.0, anybody=False, asleep=()) == []
    desertion.untold()
    assert desertion.lanes(62.0, anybody=False, asleep=()) == told


class Idle:
    """Nothing is decided by an operator, and nothing is learned."""

    def __call__(self, lanes: Lanes, policy: Policy) -> Policy:
        return policy

    def note(self, marks: tuple[str, ...], worker: str) -> None:
        raise AssertionError


def test_pool_unheard_for_a_while_is_not_deserted() -> None:
    seconds = [0.0]
    routing = Routing(Policy(), operator=Idle(), learner=Idle(), clocks=Clocks(steady=lambda: seconds[-1]))
    routing.hear(beat("w1", "small"))
    seconds.append(60.0)
    routing.hearing()
    assert routing.deserted() == []
    while seconds[-1] < 80.0:
        seconds.append(seconds[-1] + 1.0)
        routing.hearing()
    assert routing.deserted() == ["small"]


def test_request_after_an_outage_finds_its_lane() -> None:
    seconds = [0.0]
    routing = Routing(Policy(), operator=Idle(), learner=Idle(), clocks=Clocks(steady=lambda: seconds[-1]))
    routing.hear(beat("w1", "small"))
    seconds.append(60.0)
    # Requests may be read before the first event.
    assert [lane.pool for lane in routing.known()] == ["small"]
    routing.hearing()
    seconds.append(61.0)
    routing.hearing()
    assert [lane.pool for lane in routing.known()] == ["small"]
    while seconds[-1] < 80.0:
        seconds.append(seconds[-1] + 1.0)
        routing.hearing()
    assert routing.known() == ()


async def test_outage_is_no_end_of_a_lane(redis_server: RedisServer) -> None:
    url = redis_server.url
    async with connect(url, url, BusOptions(service="router", grace_s=0.2)) as bus:
        assert await tell_stranded(bus, ["small"])
        await asyncio.to_thread(redis_server.kill)
        assert not await tell_stranded(bus, ["small"])
