"""Profiles, strategies, affinity and admission."""

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_contracts.base import Problem
from archive_contracts.engine import EngineLeft, EngineRegistered, ModelCard
from archive_router.domain.admission import Queued, refusal, room, wait_s
from archive_router.domain.affinity import FIRST_MARK, Prefixes, has_room, home_of, marks_of
from archive_router.domain.demand import Demand
from archive_router.domain.lanes import Lanes, LaneView, PoolPlan
from archive_router.domain.picks import PICKS
from archive_router.domain.profiles import PROFILES, complexity, parameters, profile_for
from archive_router.domain.route import Decision, Policy, decide
from archive_router.domain.scorers import SCORERS, field_of
from archive_router.domain.strategies import STRATEGIES, strategy


def beat(worker: str, pool: str = "", **facts: Any) -> EngineRegistered:
    known: dict[str, Any] = {
        "engine": worker,
        "instance": worker,
        "models": (ModelCard(id="m"),),
        "capabilities": ("chat",),
        "slots": 4,
    }
    return EngineRegistered(worker=worker, pool=pool or worker, **known | facts)


def lanes_of(*beats: EngineRegistered, plans: Iterable[PoolPlan] = ()) -> Lanes:
    lanes = Lanes()
    lanes.plan(plans)
    for event in beats:
        lanes.hear(event, now=0.0)
    return lanes


def wanted(model: str = "auto", **wishes: Any) -> Demand:
    return Demand(model=model, needs=frozenset({"chat"}), **wishes)


def chosen(lanes: Lanes, demand: Demand, policy: Policy | None = None, user_turn: str = "") -> Decision:
    known = policy or Policy(sent_to=lanes.sent_to)
    found = decide(demand, lanes.at(0.0), known, user_turn=user_turn)
    assert isinstance(found, Decision)
    return found


# -- profiles ----------------------------------------------------------------------------------------------------------

TIERED = lanes_of(
    beat("quick", tier="fast"), beat("even", tier="balanced"), beat("big", tier="powerful"), beat("sage", tier="expert")
)


@pytest.mark.parametrize(
    ("profile", "pool"),
    [
        ("fast-response", "quick"),
        ("assistant", "even"),
        ("planner-pro", "big"),
        ("code-expert", "big"),
        ("expert-reasoning", "sage"),
    ],
)
def test_profile_means_a_tier(profile: str, pool: str) -> None:
    decision = chosen(TIERED, wanted(profile))
    assert decision.chosen.pool == pool
    assert decision.parameters
    assert decision.parameters.temperature == PROFILES[profile].temperature
    assert decision.parameters.max_tokens == PROFILES[profile].max_tokens


@pytest.mark.parametrize(
    ("text", "pool"),
    [
        ("What time is it?", "quick"),
        ("Tell me in a few friendly words how rainbows come to be on a summer day, please", "even"),
        ("Make a plan and a proof of it " + "with many words " * 10, "sage"),
        ("Why does this function fail: def f(): pass", "big"),
        ("word " * 250, "sage"),
    ],
)
def test_smart_reads_the_request(text: str, pool: str) -> None:
    assert chosen(TIERED, wanted("smart"), user_turn=text).chosen.pool == pool


def test_model_of_that_name_beats_profile() -> None:
    lanes = lanes_of(beat("a", models=(ModelCard(id="smart"),)), beat("assistant"))
    assert chosen(lanes, wanted("smart")).chosen.model == "smart"
    assert chosen(lanes, wanted("assistant")).parameters is None


def test_missing_tier_takes_the_nearest() -> None:
    lanes = lanes_of(beat("quick", tier="fast"), beat("even", tier="balanced"))
    assert chosen(lanes, wanted("expert-reasoning")).chosen.pool == "even"
    assert chosen(lanes_of(beat("sage", tier="expert")), wanted("fast-response")).chosen.pool == "sage"


def test_wished_tags_and_window_go_first() -> None:
    lanes = lanes_of(
        beat("a", tier="powerful", models=(ModelCard(id="m", context=4096),)),
        beat("b", tier="powerful", models=(ModelCard(id="m", context=32768),)),
    )
    assert chosen(lanes, wanted("planner-pro")).chosen.pool == "b"
    lanes.hear(beat("a", tier="powerful", tags=("code",)), now=0.0)
    assert chosen(lanes, wanted("code-expert")).chosen.pool == "a"


def test_answer_is_cut_to_the_window() -> None:
    profile = PROFILES["planner-pro"]
    assert parameters(profile, prompt_tokens=0, context=0).max_tokens == 4000
    assert parameters(profile, prompt_tokens=1000, context=4096).max_tokens == 3096
    assert parameters(profile, prompt_tokens=4000, context=4096).max_tokens is None


@given(st.text())
def test_any_text_has_a_complexity(text: str) -> None:
    assert 0 <= complexity(text) <= 3
    assert profile_for("smart", text) in PROFILES.values()


# -- strategies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("health-score", {"busy": 0}, {"busy": 3}),
        ("health-score", {}, {"error_rate": 0.9}),
        ("least-latency", {"ttft_s": 0.1}, {"ttft_s": 2.0}),
        ("least-latency", {"service_s": 1.0}, {"service_s": 9.0}),
        ("cost-optimized", {"cost_in": 0.1}, {"cost_in": 3.0, "cost_out": 9.0}),
        ("quality-first", {"tier": "expert"}, {"tier": "fast"}),
    ],
)
def test_strategy_prefers_the_better(name: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    for first, second in (("a", "b"), ("b", "a")):
        lanes = lanes_of(beat(first, **good), beat(second, **bad))
        assert chosen(lanes, wanted(), Policy(strategy=strategy(name))).chosen.pool == first


def test_round_robin_takes_turns() -> None:
    policy = Policy(strategy=strategy("round-robin"))
    lanes = lanes_of(beat("a"), beat("b"), beat("c"))
    assert [chosen(lanes, wanted(), policy).chosen.pool for _ in range(4)] == ["a", "b", "c", "a"]


def test_weighted_random_follows_the_weights() -> None:
    source = random.Random(7)
    policy = Policy(strategy=strategy("weighted-random"), chance=source.random)
    lanes = lanes_of(beat("idle"), beat("full", busy=4, waiting=40))
    taken = Counter(chosen(lanes, wanted(), policy).chosen.pool for _ in range(400))
    assert taken["idle"] > taken["full"] > 0


def test_power_of_two_never_takes_the_worst() -> None:
    source = random.Random(7)
    policy = Policy(strategy=strategy("power-of-two"), chance=source.random)
    lanes = lanes_of(beat("a"), beat("b", busy=2), beat("c", busy=4, waiting=9))
    taken = Counter(chosen(lanes, wanted(), policy).chosen.pool for _ in range(100))
    assert taken["c"] == 0
    assert taken["a"] > taken["b"] > 0


@given(
    st.sampled_from(sorted(PICKS)),
    st.lists(st.floats(0, 10), min_size=1, max_size=20),
    st.floats(0, 1, exclude_max=True),
)
def test_pick_is_an_index(name: str, scores: list[float], chance: float) -> None:
    assert 0 <= PICKS[name]()(scores, lambda: chance) < len(scores)


@given(
    st.sampled_from(sorted(SCORERS)),
    st.builds(
        beat,
        st.sampled_from("abc"),
        busy=st.integers(0, 9),
        ttft_s=st.floats(0, 9),
        service_s=st.floats(0, 9),
        error_rate=st.floats(0, 1),
        cost_in=st.floats(0, 9),
        tier=st.sampled_from(["fast", "expert"]),
    ),
    st.sampled_from([None, "fast", "powerful"]),
)
def test_scores_are_shares(name: str, event: EngineRegistered, tier: Any) -> None:
    lanes = lanes_of(event, beat("other", ttft_s=1.0, service_s=1.0, cost_in=1.0)).at(0.0)
    demand = wanted(tier=tier, tags=frozenset({"x"}))
    scores = SCORERS[name](demand, lanes, field_of(lanes, warm=event.worker))
    assert len(scores) == len(lanes)
    assert all(0.0 <= score <= 1.0 for score in scores)


def test_every_strategy_decides() -> None:
    for name in STRATEGIES:
        assert chosen(TIERED, wanted(), Policy(strategy=strategy(name))).chosen.model == "m"


# -- affinity ----------------------------------------------------------------------------------------------------------


def prompt(text: str) -> str:
    return '{"model": "m", "messages": [{"role": "user", "content": "' + text + '"}]}'


def test_same_beginning_same_marks() -> None:
    first, second = marks_of(prompt("x" * 3000 + "end")), marks_of(prompt("x" * 3000 + "other end"))
    assert len(first) == 3
    assert first == second
    assert marks_of(prompt("y" + "x" * 3000))[0] != first[0]
    assert marks_of(prompt("short")) == ()
    assert len(marks_of('{"prompt": "' + "z" * 600 + '"}')) == 1


@given(st.text(max_size=3000), st.text(max_size=3000), st.text(max_size=50))
def test_marks_agree_as_far_as_texts_do(shared: str, one: str, other: str) -> None:
    first, second = marks_of(prompt(shared + one)), marks_of(prompt(shared + other))
    same = sum(FIRST_MARK << index <= len(shared) for index in range(7))
    assert first[:same] == second[:same]


def pool(*busy: int, **facts: Any) -> Lanes:
    return lanes_of(*(beat(f"w{n}", "p", busy=load, directed=True, **facts) for n, load in enumerate(busy)))


def test_known_prompt_goes_where_it_was_read() -> None:
    lanes, prefixes = pool(0, 1, 0), Prefixes()
    prefixes.note(("k1", "k2"), "w1")
    policy = Policy(prefixes=prefixes, sent_to=lanes.sent_to)
    demand = wanted(marks=("k1", "k2", "k3"), prompt_chars=2500)
    assert chosen(lanes, demand, policy).chosen.worker == "w1"
    assert chosen(lanes, wanted(marks=("k1",), prompt_chars=100_000), policy).chosen.worker == "w0"


def test_known_prompt_prefers_its_pool() -> None:
    lanes, prefixes = lanes_of(beat("a"), beat("b")), Prefixes()
    prefixes.note(("k1",), "b")
    assert chosen(lanes, wanted(marks=("k1",), prompt_chars=600), Policy(prefixes=prefixes)).chosen.pool == "b"


def test_new_prompt_goes_to_the_least_busy() -> None:
    lanes = pool(2, 0, 1)
    assert chosen(lanes, wanted(marks=("k",), prompt_chars=600)).chosen.worker == "w1"
    assert chosen(pool(4, 4), wanted(marks=("k",), prompt_chars=600)).chosen.worker == ""


def test_full_worker_loses_its_claim() -> None:
    prefixes = Prefixes()
    prefixes.note(("k",), "w0")
    for busy, worker in ((3, "w0"), (4, "")):
        lanes = pool(busy, 0)
        policy = Policy(prefixes=prefixes, sent_to=lanes.sent_to)
        assert chosen(lanes, wanted(marks=("k",), prompt_chars=600), policy).chosen.worker == worker
    lanes = pool(3, 0)
    lanes.sent("p", "w0")
    policy = Policy(prefixes=prefixes, sent_to=lanes.sent_to)
    assert chosen(lanes, wanted(marks=("k",), prompt_chars=600), policy).chosen.worker == ""
    lanes.hear(beat("w0", "p", busy=1, directed=True), now=0.0)
    assert lanes.sent_to("w0") == 0


def test_session_sticks_to_its_worker() -> None:
    lanes = pool(0, 0, 0)
    homes = {name: chosen(lanes, wanted(session=name)).chosen.worker for name in "abcdefgh"}
    assert homes == {name: chosen(lanes, wanted(session=name)).chosen.worker for name in "abcdefgh"}
    assert len(set(homes.values())) > 1
    assert chosen(pool(4, 4, 4), wanted(session="a")).chosen.worker == homes["a"]


@given(st.text(), st.sets(st.sampled_from("abcdefgh"), min_size=2), st.data())
def test_only_sessions_of_the_gone_move(session: str, names: set[str], data: st.DataObject) -> None:
    workers = [beat(name) for name in sorted(names)]
    gone = data.draw(st.sampled_from(sorted(names)))
    before, after = home_of(session, workers), home_of(session, [w for w in workers if w.worker != gone])
    assert before in (after, gone)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=6))
def test_somebody_always_has_room(busy: list[int]) -> None:
    workers = [beat(f"w{n}", busy=load) for n, load in enumerate(busy)]
    assert any(has_room(worker, workers) for worker in workers)


def test_old_prompts_are_forgotten() -> None:
    prefixes = Prefixes(most=2)
    prefixes.note("abc", "w")
    assert len(prefixes) == 2
    assert prefixes.match(("a",), prompt_chars=1) is None


def test_neighbours_are_other_servers() -> None:
    lanes = lanes_of(
        beat("w0", "p", directed=True, instance="one"),
        beat("w1", "p", directed=True, instance="one", busy=1),
        beat("w2", "p", directed=True, instance="two"),
        beat("x"),
    )
    decision = chosen(lanes, wanted("p"))
    assert [(target.worker, target.instance) for target in decision.fallbacks] == [("w0", "one"), ("w2", "two")]
    directed = chosen(lanes, wanted("p", marks=("k",), prompt_chars=600))
    assert directed.chosen.worker == "w0"
    assert [target.worker for target in directed.fallbacks] == ["w2"]
    same = lanes_of(beat("w0", "p", directed=True, instance="one"), beat("w1", "p", directed=True, instance="one"))
    assert chosen(same, wanted()).fallbacks == ()
    same.hear(beat("old", "p"), now=0.0)
    assert chosen(same, wanted()).fallbacks == ()


# -- lanes that sleep, and admission -----------------------------------------------------------------------------------

SLEEPING = PoolPlan(pool="gpu", models=("big",), scale_to_zero=True, start_s=30.0)


def test_sleeping_pool_takes_what_only_it_serves() -> None:
    lanes = lanes_of(beat("a"), plans=[SLEEPING, PoolPlan(pool="never")])
    assert chosen(lanes, wanted("big")).chosen.pool == "gpu"
    decision = chosen(lanes, wanted())
    assert (decision.chosen.pool, decision.fallbacks) == ("a", ())
    assert chosen(lanes_of(plans=[SLEEPING]), wanted()).chosen.pool == "gpu"


def test_pool_sleeps_when_its_workers_left() -> None:
    lanes = lanes_of(beat("w", "gpu"), plans=[SLEEPING])
    assert chosen(lanes, wanted("gpu")).chosen.model == "m"
    lanes.hear(EngineLeft(worker="w", pool="gpu"), now=0.0)
    assert chosen(lanes, wanted("gpu")).chosen.model == "big"
    lanes.plan([])
    assert isinstance(decide(wanted("gpu"), lanes.at(0.0), Policy()), Problem)


def test_resting_engine_says_when() -> None:
    lanes = lanes_of(beat("a", cooling_s=7.0))
    problem = decide(wanted("m"), lanes.at(0.0), Policy())
    assert isinstance(problem, Problem)
    assert (problem.code, problem.retry_after_s) == ("no_engine", 7.0)


def lane(**facts: Any) -> LaneView:
    known: dict[str, Any] = {"pool": "p", "slots": 4, "service_s": 2.0}
    return LaneView(**known | facts)


def test_wait_is_backlog_over_slots() -> None:
    assert wait_s(lane(busy=3), Queued()) == 0.0
    assert wait_s(lane(busy=4), Queued()) == 0.5
    assert wait_s(lane(busy=4, waiting=7, sent=1), Queued(size=10, ahead=4)) == 6.5
    assert wait_s(lane(slots=0, start_s=30.0), Queued()) == 30.0


def test_refusal_tells_when_to_come_back() -> None:
    problem = refusal(lane(busy=4, waiting=40), Queued(), budget_s=10.0, full=False)
    assert problem
    assert (problem.status, problem.retry_after_s) == (429, 12.5)
    later = lane(busy=4, waiting=40 - int(12.5 / 2.0 * 4))
    assert refusal(later, Queued(), budget_s=10.0, full=False) is None


def test_what_can_be_served_is_taken() -> None:
    for budget in (None, 30.0):
        assert refusal(lane(busy=4, waiting=40), Queued(), budget_s=budget, full=False) is None
    assert refusal(lane(), Queued(), budget_s=1.0, full=False) is None
    assert refusal(lane(slots=0, start_s=60.0, asleep=True), Queued(), budget_s=5.0, full=False) is None
    full = refusal(lane(), Queued(), budget_s=None, full=True)
    assert full
    assert full.status == 429


@given(st.integers(1, 64), st.integers(0, 64), st.integers(0, 2000), st.floats(0, 60))
def test_room_ends_with_the_backlog(slots: int, busy: int, waiting: int, service_s: float) -> None:
    view = lane(slots=slots, busy=min(busy, slots), waiting=waiting, service_s=service_s)
    assert room(view) <= slots + 512 + slots
    assert (room(view) > 0) or waiting + busy >= slots
    asleep = lane(slots=0, waiting=waiting)
    assert (room(asleep) > 0) == (waiting < 64)


def test_sent_jobs_count_until_the_next_beat() -> None:
    lanes = lanes_of(beat("a"))
    for _ in range(3):
        lanes.sent("a")
    lanes.sent("nowhere")
    view = lanes.pool("a", 0.0)
    assert view
    lanes.sent("a")
    assert (view.load, lanes.living(0.0)) == (1.0, {"a"})
    lanes.hear(beat("b", "b"), now=0.0)
    assert lanes.pool("a", 0.0) is not view
    assert lanes.at(0.0)[0].sent == 4
    lanes.hear(beat("a", busy=3), now=0.0)
    assert (lanes.at(0.0)[0].sent, lanes.at(0.0)[0].load) == (0, 0.75)
    lanes.forget(1.0)
    lanes.forget(41.0)
    assert lanes.at(41.0) == ()
