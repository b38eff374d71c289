"""When an engine is called: breaker, checks, limits, budget and averages; and who else is in the pool."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from archive_contracts.engine import EngineLeft, EngineRegistered
from archive_engine.domain.averages import Ewma, Pulse
from archive_engine.domain.breaker import FAILURES, LONGEST_S, MOST_REST_S, REST_S, SUCCESSES, Breaker, State
from archive_engine.domain.errors import EngineResting
from archive_engine.domain.guard import Guard
from archive_engine.domain.health import Health
from archive_engine.domain.limits import MinuteLimit, RetryBudget
from archive_engine.domain.peers import Peers
from archive_engine.domain.pools import Pools


class BreakerMachine(RuleBasedStateMachine):
    """Any order of calls, outcomes and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now = Breaker(), 100.0
        self.inside = self.row = 0

    @rule(wait=st.floats(0, 40))
    def wait(self, wait: float) -> None:
        self.now += wait

    @rule()
    def call(self) -> None:
        state = self.breaker.state(self.now)
        passed = self.breaker.enter(self.now) == 0.0
        assert passed == (state is State.CLOSED or (state is State.HALF_OPEN and self.inside == 0))
        self.inside += passed

    @precondition(lambda self: self.inside)
    @rule()
    def succeed(self) -> None:
        self.breaker.succeeded()
        self.inside, self.row = self.inside - 1, 0

    @precondition(lambda self: self.inside)
    @rule(rest=st.one_of(st.none(), st.floats(0.1, 60)))
    def fail(self, rest: float | None) -> None:
        trial = self.breaker.state(self.now) is State.HALF_OPEN
        self.breaker.failed(self.now, rest_s=rest)
        self.inside, self.row = self.inside - 1, self.row + 1
        if rest is not None or trial or self.row >= FAILURES:
            assert self.breaker.state(self.now) is State.OPEN

    @precondition(lambda self: self.inside)
    @rule()
    def leave(self) -> None:
        self.breaker.leave()
        self.inside -= 1

    @rule(rest=st.floats(0.1, 60))
    def be_told(self, rest: float) -> None:
        self.breaker.rest(self.now, rest_s=rest)
        assert self.breaker.rest_s(self.now) >= rest * 0.999

    @invariant()
    def rests_only_while_open(self) -> None:
        resting = self.breaker.rest_s(self.now) > 0
        assert resting == (self.breaker.state(self.now) is State.OPEN)


TestBreaker = BreakerMachine.TestCase


def test_breaker_opens_tries_and_closes() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.enter(0.0) == 0.0
        breaker.failed(0.0)
    assert (breaker.state(0.5), breaker.enter(0.5)) == (State.OPEN, REST_S - 0.5)
    assert breaker.enter(1.5) == 0.0
    assert breaker.enter(1.5) > 0
    breaker.failed(1.5)
    assert breaker.rest_s(1.5) == 2 * REST_S
    for _ in range(SUCCESSES):
        assert breaker.enter(4.0) == 0.0
        breaker.succeeded()
    assert breaker.state(4.0) is State.CLOSED


def test_no_wish_takes_an_engine_out_for_good() -> None:
    breaker = Breaker()
    breaker.failed(0.0, rest_s=99_999_999_999.0)
    assert breaker.rest_s(0.0) == LONGEST_S
    assert breaker.state(LONGEST_S) is State.HALF_OPEN


def test_rest_doubles_up_to_a_bound() -> None:
    breaker, now = Breaker(), 0.0
    for _ in range(20):
        for _ in range(FAILURES):
            breaker.failed(now)
        assert breaker.rest_s(now) <= MOST_REST_S
        now += MOST_REST_S + 1
    assert breaker.state(now) is State.HALF_OPEN


@given(st.lists(st.booleans(), min_size=1))
def test_three_bad_out_two_good_in(checks: list[bool]) -> None:
    health, seen = Health(), list[bool]()
    for good in checks:
        problem = health.saw("" if good else "down")
        seen.append(good)
        if seen[-3:] == [False] * 3:
            assert problem == "down"
        if seen[-2:] == [True] * 2 or seen == [True]:
            assert problem == ""


def test_one_bad_check_is_forgiven() -> None:
    health = Health()
    assert [health.saw(found) for found in ("", "x", "x", "", "x", "x", "x", "", "")] == [
        *[""] * 6,
        "x",
        "x",
        "",
    ]
    assert Health().problem


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_average_stays_among_its_values(values: list[float], alpha: float) -> None:
    average = Ewma(alpha=alpha)
    for value in values:
        average.add(value)
    slack = 1e-6 * max(values) + 1e-9
    assert min(values) - slack <= average.value <= max(values) + slack


@given(st.floats(0, 100), st.floats(0, 100))
def test_average_comes_to_what_stays(first: float, then: float) -> None:
    average = Ewma()
    average.add(first)
    for _ in range(100):
        average.add(then)
    assert average.value == pytest.approx(then, abs=1e-6)


def test_pulse_counts_failures_gently() -> None:
    pulse = Pulse()
    pulse.failed()
    assert pulse.reading().error_rate == pytest.approx(0.1)
    pulse.succeeded(service_s=2.0, ttft_s=0.5)
    pulse.succeeded(service_s=2.0, ttft_s=None)
    reading = pulse.reading()
    assert (reading.service_s, reading.ttft_s, reading.served) == (2.0, 0.5, 3)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 80)), max_size=40))
def test_minute_keeps_to_its_limits(calls: list[tuple[float, int]]) -> None:
    limit, now, made = MinuteLimit(requests=5, tokens=100), 0.0, list[tuple[float, int]]()
    for pause, tokens in calls:
        now += pause
        now += limit.wait_s(now, tokens=tokens) * 1.000001
        assert limit.wait_s(now, tokens=tokens) < 1e-3
        limit.call(now)
        limit.spend(now, tokens=tokens)
        made.append((now, tokens))
        recent = [size for at, size in made if now - at < 59.9]
        assert len(recent) <= 5
        assert sum(recent) <= 100


def test_no_limit_never_waits() -> None:
    limit = MinuteLimit()
    for _ in range(100):
        limit.call(0.0)
        limit.spend(0.0, tokens=10**9)
    assert limit.wait_s(0.0, tokens=10**9) == 0.0
    assert MinuteLimit(tokens=10).wait_s(0.0, tokens=50) == 0.0


@given(st.lists(st.booleans(), max_size=300))
def test_retries_stay_a_share_of_the_calls(steps: list[bool]) -> None:
    budget, calls, retries = RetryBudget(share=0.2, most=10.0), 0, 0
    for is_call in steps:
        if is_call:
            budget.called()
            calls += 1
        elif budget.allows:
            budget.retried()
            retries += 1
    assert retries <= 10 + 0.2 * calls


def test_guard_refuses_with_the_time_to_wait() -> None:
    guard = Guard(engine="e", requests_per_minute=1, tokens_per_minute=100)
    guard.enter(0.0, tokens=10)
    guard.spend(1.0, tokens=10)
    with pytest.raises(EngineResting) as used_up:
        guard.enter(10.0, tokens=10)
    assert (used_up.value.status, used_up.value.rest_s) == (429, 50.0)
    guard.failed(60.0, rest_s=7.0)
    with pytest.raises(EngineResting) as resting:
        guard.enter(62.0, tokens=0)
    assert (resting.value.status, resting.value.rest_s, guard.rest_s(62.0)) == (503, 5.0, 5.0)
    guard.rest(62.0, rest_s=9.0)
    assert guard.rest_s(62.0) == 9.0
    guard.enter(80.0, tokens=0)
    guard.leave()
    guard.succeeded(service_s=1.0, ttft_s=0.1)
    assert guard.reading.served == 2


def beat(worker: str, **facts: object) -> EngineRegistered:
    known: dict[str, object] = {"engine": "e", "pool": "p", "models": (), "capabilities": (), "slots": 1}
    return EngineRegistered.model_validate(known | {"worker": worker, "directed": True, "heartbeat_s": 2.0} | facts)


def test_who_left_or_fell_silent_is_an_orphan_once() -> None:
    peers = Peers(worker="me", pool="p")
    for name, facts in (("me", {}), ("a", {}), ("b", {}), ("else", {"pool": "q"}), ("plain", {"directed": False})):
        peers.hear(beat(name, **facts), at=100.0)
    peers.hear(EngineLeft(worker="a", pool="p"), at=101.0)
    peers.hear(EngineLeft(worker="stranger", pool="p"), at=101.0)
    assert peers.orphans(102.0) == ["a"]
    assert peers.orphans(106.0) == []
    assert peers.orphans(106.1) == ["b"]
    assert peers.orphans(107.0) == []


def test_long_gone_worker_left_nothing() -> None:
    peers = Peers(worker="me", pool="p")
    peers.hear(beat("a"), at=100.0)
    assert peers.orphans(1_000.0) == []


def test_peer_unheard_in_an_outage_is_no_orphan() -> None:
    peers = Peers(worker="me", pool="p")
    peers.hearing(100.0)
    peers.hear(beat("a"), at=100.0)
    peers.hear(beat("b"), at=100.0)
    peers.hearing(130.0)
    assert peers.orphans(130.0) == []
    peers.hear(beat("a"), at=131.0)
    for second in range(131, 138):
        peers.hearing(float(second))
    assert peers.orphans(137.0) == ["b"]
    assert (peers.knows("a"), peers.knows("b")) == (True, False)


def test_pool_lives_while_a_worker_does() -> None:
    pools = Pools()
    for name, facts in (("a", {}), ("b", {}), ("c", {"pool": "q", "directed": False})):
        pools.hear(beat(name, **facts), at=100.0)
    pools.hear(EngineLeft(worker="a", pool="p"), at=101.0)
    pools.hear(EngineLeft(worker="stranger", pool="p"), at=101.0)
    assert pools.living(102.0) == {"p", "q"}
    assert pools.living(106.1) == frozenset()
    pools.hear(beat("c", pool="q"), at=107.0)
    assert pools.living(107.0) == {"q"}


def test_gone_workers_leave_their_lanes() -> None:
    pools = Pools()
    for name, facts in (("a", {}), ("plain", {"directed": False}), ("else", {"pool": "q"})):
        pools.hear(beat(name, **facts), at=100.0)
    assert pools.lanes("p") == ["p", "p~batch", "p:a"]
    pools.hear(beat("new"), at=1_000.0)
    assert pools.lanes("p") == ["p", "p~batch", "p:new"]
