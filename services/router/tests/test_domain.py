"""Lanes as a fold of heartbeats, and the choice among them."""

from collections.abc import Iterable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_contracts.base import Problem
from archive_contracts.chat import Capability
from archive_contracts.engine import EngineLeft, EngineRegistered, ModelCard
from archive_router.domain.demand import Demand
from archive_router.domain.filters import ANY_MODEL
from archive_router.domain.lanes import ABANDONED_S, Lanes, LaneView, PoolPlan
from archive_router.domain.route import MOST_FALLBACKS, Decision, Policy, decide

CHAT: frozenset[Capability] = frozenset({"chat"})


def worker(
    name: str,
    *,
    pool: str = "small",
    models: Iterable[str] = ("tiny",),
    capabilities: tuple[Capability, ...] = ("chat",),
    healthy: bool = True,
    busy: int = 0,
    context: int = 0,
) -> EngineRegistered:
    return EngineRegistered(
        worker=name,
        engine="bundled",
        pool=pool,
        models=tuple(ModelCard(id=model, context=context) for model in models),
        capabilities=capabilities,
        slots=4,
        busy=busy,
        healthy=healthy,
        heartbeat_s=2.0,
    )


def lanes_of(*workers: EngineRegistered) -> list[LaneView]:
    lanes = Lanes()
    for event in workers:
        lanes.hear(event, now=0.0)
    return list(lanes.at(0.0))


def decided(lanes: Iterable[LaneView], model: str = "auto", *, preferred: str = "", chars: int = 0) -> Decision:
    found = decide(Demand(model=model, needs=CHAT, prompt_chars=chars), lanes, Policy(preferred_pool=preferred))
    assert isinstance(found, Decision)
    return found


def refused(
    lanes: Iterable[LaneView], model: str = "auto", *, needs: frozenset[Capability] = CHAT, chars: int = 0
) -> Problem:
    found = decide(Demand(model=model, needs=needs, prompt_chars=chars), lanes, Policy())
    assert isinstance(found, Problem)
    return found


def test_model_name_beats_pool_name() -> None:
    lanes = lanes_of(worker("a", pool="tiny", models=["other"]), worker("b", pool="big", models=["tiny"]))
    assert decided(lanes, "tiny").chosen.pool == "big"
    assert decided(lanes, "big").chosen.model == "tiny"


def test_least_loaded_goes_first() -> None:
    lanes = lanes_of(worker("a", pool="a", busy=3), worker("b", pool="b", busy=1), worker("c", pool="c", busy=2))
    decision = decided(lanes)
    assert decision.chosen.pool == "b"
    assert [target.pool for target in decision.fallbacks] == ["c", "a"]


def test_preferred_pool_beats_load() -> None:
    lanes = lanes_of(worker("a", pool="a", busy=4), worker("b", pool="b"))
    assert decided(lanes, preferred="a").chosen.pool == "a"
    assert decided(lanes, preferred="elsewhere").chosen.pool == "b"


def test_fallbacks_are_few() -> None:
    lanes = lanes_of(*(worker(name, pool=name) for name in "abcdef"))
    assert len(decided(lanes).fallbacks) == MOST_FALLBACKS


def test_unknown_model_names_the_known() -> None:
    problem = refused(lanes_of(worker("a", models=["one", "two"])), "three")
    assert (problem.status, problem.code, problem.param) == (404, "model_not_found", "model")
    assert "one, two" in problem.message


def test_missing_capability_is_named() -> None:
    problem = refused(lanes_of(worker("a")), needs=frozenset({"chat", "vision"}))
    assert (problem.status, problem.code) == (400, "unsupported_capability")
    assert "offers vision" in problem.message


def test_absent_chat_engine_may_come_back() -> None:
    problem = refused(lanes_of(worker("e", capabilities=("embedding",))), "auto")
    assert (problem.status, problem.code, problem.retry_after_s) == (503, "no_engine", 2.0)


def test_scattered_capabilities_are_no_lane() -> None:
    lanes = lanes_of(
        worker("a", pool="a", capabilities=("chat", "tools")), worker("b", pool="b", capabilities=("chat", "vision"))
    )
    assert "this combination" in refused(lanes, needs=frozenset({"tools", "vision"})).message


def test_too_long_prompt_names_the_window() -> None:
    lanes = lanes_of(worker("a", pool="a", context=100), worker("b", pool="b", context=200))
    assert decided(lanes, chars=1_000).chosen.pool == "b"
    problem = refused(lanes, chars=10_000)
    assert (problem.status, problem.code) == (400, "context_length_exceeded")
    assert "200 tokens" in problem.message


def test_unknown_window_refuses_nothing() -> None:
    assert decided(lanes_of(worker("a")), chars=10**9).chosen.pool == "small"


@pytest.mark.parametrize("model", ["tiny", "small", "auto"])
def test_sick_engine_is_no_missing_model(model: str) -> None:
    problem = refused(lanes_of(worker("a", healthy=False)), model)
    assert (problem.status, problem.code, problem.retry_after_s) == (503, "no_engine", 2.0)


def test_sick_engine_beside_healthy_one() -> None:
    lanes = lanes_of(worker("a", healthy=False), worker("b", pool="other", models=["x"]))
    assert refused(lanes, "tiny").status == 503
    assert refused(lanes, "none").status == 404
    assert decided(lanes).chosen.pool == "other"


def test_nobody_alive_is_said() -> None:
    assert refused([], "anything").status == 503


def test_models_outlive_sickness() -> None:
    lanes = Lanes()
    lanes.hear(worker("a"), now=0.0)
    lanes.hear(worker("b", pool="other", models=["x"]), now=0.0)
    for beat in (1.0, 2.0):
        lanes.hear(worker("a", models=(), healthy=False), now=beat)
    assert refused(lanes.at(2.0), "tiny").status == 503


def test_sick_worker_does_not_shrink_lane() -> None:
    lanes = lanes_of(
        worker("a", context=500, capabilities=("chat", "tools")), worker("b", models=(), healthy=False, capabilities=())
    )
    (lane,) = lanes
    assert (lane.models, lane.context, lane.load) == (("tiny",), 500, 0.0)
    assert lane.capabilities == {"chat", "tools"}


def test_lane_offers_what_all_share() -> None:
    (lane,) = lanes_of(
        worker("b", models=["two", "one"], capabilities=("chat", "tools"), busy=4, context=300),
        worker("a", models=["one", "three"], capabilities=("chat",), context=200),
    )
    assert (lane.models, lane.capabilities, lane.context, lane.load) == (("one",), {"chat"}, 200, 0.5)


def test_worker_without_models_serves_nothing() -> None:
    assert refused(lanes_of(worker("a", models=())), "small").status == 503


def test_lane_with_no_healthy_slot_is_full() -> None:
    assert lanes_of(worker("a", healthy=False))[0].load == 1.0


def test_silent_worker_is_gone() -> None:
    lanes = Lanes()
    lanes.hear(worker("a"), now=0.0)
    assert [lane.pool for lane in lanes.at(6.0)] == ["small"]
    assert list(lanes.at(6.1)) == []
    lanes.forget(39.0)
    lanes.hear(worker("a", models=()), now=39.0)
    assert lanes.at(39.0)[0].models == ("tiny",)
    lanes.forget(39.0 + 41.0)
    lanes.hear(worker("a", models=()), now=80.0)
    assert lanes.at(80.0)[0].models == ()


def test_left_worker_is_gone_at_once() -> None:
    lanes = Lanes()
    lanes.hear(worker("a"), now=0.0)
    for _ in range(2):
        lanes.hear(EngineLeft(worker="a", pool="small"), now=0.1)
    assert list(lanes.at(0.1)) == []


CAPABILITIES: tuple[Capability, ...] = get_args(Capability)
capabilities = st.lists(st.sampled_from(CAPABILITIES), unique=True).map(tuple)
workers = st.builds(
    worker,
    st.sampled_from("abcdefgh"),
    pool=st.sampled_from(["p", "q", "r"]),
    models=st.lists(st.sampled_from(["m", "n", "p"]), unique=True),
    capabilities=capabilities,
    healthy=st.booleans(),
    busy=st.integers(0, 4),
    context=st.sampled_from([0, 10, 1_000]),
)
demands = st.builds(
    Demand,
    model=st.sampled_from(["m", "n", "p", "r", "none", *sorted(ANY_MODEL)]),
    needs=capabilities.map(frozenset),
    prompt_chars=st.integers(0, 10_000),
)


@given(demands, st.lists(workers, max_size=8), st.sampled_from(["", "p", "gone"]))
def test_decision_names_only_able_lanes(demand: Demand, events: list[EngineRegistered], preferred: str) -> None:
    lanes = {lane.pool: lane for lane in lanes_of(*events)}
    decision = decide(demand, lanes.values(), Policy(preferred_pool=preferred))
    if isinstance(decision, Problem):
        assert decision.status in {400, 404, 503}
        assert decision.next_step
        return
    targets = (decision.chosen, *decision.fallbacks)
    assert len({target.pool for target in targets}) == len(targets)
    for target in targets:
        healthy = lanes[target.pool].healthy
        assert healthy
        for able in healthy:
            assert demand.needs <= set(able.capabilities)
            assert target.model in {card.id for card in able.models}
        assert demand.model in {target.model, target.pool, *ANY_MODEL}


@given(demands, st.lists(workers, max_size=8))
def test_order_of_lanes_does_not_matter(demand: Demand, events: list[EngineRegistered]) -> None:
    lanes = lanes_of(*events)
    assert decide(demand, lanes, Policy()) == decide(demand, reversed(lanes), Policy())


def test_deserted_pool_is_told_once() -> None:
    lanes = Lanes()
    for event in (worker("a"), worker("b"), worker("c", pool="gpu"), worker("d", pool="large")):
        lanes.hear(event, now=0.0)
    lanes.plan([PoolPlan(pool="gpu", scale_to_zero=True), PoolPlan(pool="large")])
    assert lanes.deserted(0.0) == []
    lanes.hear(EngineLeft(worker="a", pool="small"), now=1.0)
    lanes.hear(EngineLeft(worker="c", pool="gpu"), now=1.0)
    assert lanes.deserted(1.0) == []
    assert lanes.deserted(60.0) == ["large", "small"]
    lanes.cleared("large")
    # Nobody could be told of the other.
    assert lanes.deserted(61.0) == ["small"]
    lanes.cleared("small")
    assert lanes.deserted(61.0) == []
    lanes.hear(worker("a"), now=62.0)
    assert lanes.deserted(62.0) == []
    assert lanes.deserted(120.0) == ["small"]
    lanes.forget(120.0 + ABANDONED_S)
    assert lanes.deserted(120.0 + ABANDONED_S) == []


def test_who_was_gone_before_an_outage_stays_gone() -> None:
    lanes = Lanes()
    lanes.hear(worker("dead"), now=0.0)
    lanes.hear(worker("alive"), now=70.0)
    assert lanes.living(70.0) == {"alive"}
    lanes.deaf_until(100.0, since=71.0)
    assert lanes.living(100.0) == {"alive"}


def test_pool_lost_in_an_outage_is_told() -> None:
    lanes = Lanes()
    lanes.hear(worker("a"), now=0.0)
    lanes.hear(worker("b", pool="large"), now=0.0)
    for second in range(2, 100, 2):
        lanes.deaf_until(float(second), since=second - 2.0)
        lanes.forget(float(second))
    # Who was not heard in the outage may come back; who stays silent after it is gone.
    assert lanes.deserted(99.0) == []
    lanes.hear(worker("b", pool="large"), now=100.0)
    assert lanes.deserted(100.0) == []
    lanes.hear(worker("b", pool="large"), now=105.0)
    assert lanes.deserted(105.0) == ["small"]
