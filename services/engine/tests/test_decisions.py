"""What an answer amounts to, and what follows a failure."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_contracts.chat import ChatRequested, Usage
from archive_contracts.engine import GenerateRequested, Resumption, Target
from archive_engine.domain.answer import Answer
from archive_engine.domain.errors import EngineResting, UpstreamCut, UpstreamRefused, UpstreamStatus
from archive_engine.domain.failover import (
    MOST_CALLS,
    GiveUp,
    PassOn,
    Scene,
    TryAgain,
    after_failure,
    asked_rest_s,
    counts_against,
    problem_of,
)
from archive_engine.domain.headers import MOST, MOST_BYTES, kept

SPARE = Target(pool="spare", model="n")


def job(*fallbacks: Target, continuation: bool = False, calls: int = 0) -> GenerateRequested:
    request = ChatRequested(body="{}", model="m", continuation=continuation)
    return GenerateRequested(
        request=request, request_id="r", pool="small", model="m", fallbacks=fallbacks, calls=calls, worker="w"
    )


def scene(**facts: Any) -> Scene:
    known: dict[str, Any] = {"engine": "e", "instance": "i", "worker": "w"}
    return Scene(**known | facts)


def status(code: int, body: str = "") -> UpstreamStatus:
    return UpstreamStatus("refused", status=code, body=body)


@pytest.mark.parametrize(("second", "text"), [("\\ude00", "😀"), ("x", "�x")])
def test_halves_of_a_character_are_joined(second: str, text: str) -> None:
    answer = Answer()
    for half in ("\\ud83d", second):
        answer.read(f'{{"choices": [{{"index": 0, "delta": {{"content": "{half}"}}}}]}}')
    assert answer.text == text


def test_answer_folds_chunks() -> None:
    answer = Answer()
    answer.add({"model": "x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}}]})
    answer.add({"choices": [{"index": 1, "delta": {"content": "other"}}, {"delta": {"content": "lo"}}]})
    answer.add({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    answer.add({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}})
    assert (answer.text, answer.finish_reason, answer.model) == ("Hello", "length", "x")
    assert answer.usage == Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"choices": None},
        {"choices": "none"},
        {"choices": [None, 3]},
        {"choices": [{"delta": {"content": None}}]},
        {"usage": "many"},
        {"usage": {"prompt_tokens": -1, "completion_tokens": "2"}},
        {"usage": {"prompt_tokens": 2**63, "completion_tokens": 10**30}},
    ],
)
def test_odd_chunks_are_passed_over(odd: dict[str, object]) -> None:
    answer = Answer()
    answer.add(odd)
    assert (answer.text, answer.usage) == ("", Usage())


def test_completion_text_counts() -> None:
    answer = Answer()
    answer.add({"choices": [{"index": 0, "text": "once"}]})
    assert answer.text == "once"


def test_first_failure_goes_to_the_fallback() -> None:
    step = after_failure(job(SPARE), status(500), scene())
    assert isinstance(step, PassOn)
    assert (step.job.pool, step.job.model, step.job.fallbacks, step.job.tried) == ("spare", "n", (), ("i",))


def test_without_fallback_it_is_tried_again() -> None:
    steps = [after_failure(job(), status(503), scene(attempt=n, retry=n < 3)) for n in (1, 2, 3)]
    assert [type(step) for step in steps] == [TryAgain, TryAgain, GiveUp]


@pytest.mark.parametrize("code", [400, 404, 422])
def test_clients_fault_is_not_tried_elsewhere(code: int) -> None:
    step = after_failure(job(SPARE), status(code), scene())
    assert isinstance(step, GiveUp)
    assert step.problem.status == code


def test_busy_engine_is_not_asked_again() -> None:
    step = after_failure(job(), status(429), scene())
    assert isinstance(step, GiveUp)


def test_after_the_first_token_nothing_else_answers() -> None:
    cut = UpstreamCut("cut", next_step="again", token_seen=True)
    step = after_failure(job(SPARE), cut, scene())
    assert isinstance(step, GiveUp)
    assert step.problem.status == 502


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (
            '{"error": {"message": "too long", "code": "context_length_exceeded"}}',
            "too long",
            "context_length_exceeded",
        ),
        ('{"error": {"message": "odd", "code": 400}}', "odd", "upstream_status"),
        ('{"error": "plain"}', "refused", "upstream_status"),
        ("<html>", "refused", "upstream_status"),
        ("[1]", "refused", "upstream_status"),
    ],
)
def test_engines_own_words_are_kept(body: str, message: str, code: str) -> None:
    problem = problem_of(status(400, body), "e")
    assert (problem.message, problem.code) == (message, code)


def test_strange_status_becomes_bad_gateway() -> None:
    assert problem_of(status(302), "e").status == 502


def test_refused_connection_names_the_engine() -> None:
    problem = problem_of(UpstreamRefused("no connection", next_step="start it"), "bundled")
    assert (problem.status, problem.next_step) == (503, "start it")
    assert "bundled" in problem.message


def test_delay_grows_with_chance_and_keeps_the_deadline() -> None:
    delays = [
        step.delay_s
        for attempt in (1, 2, 3)
        for chance in (0.0, 0.99)
        if isinstance(step := after_failure(job(), status(500), scene(attempt=attempt, chance=chance)), TryAgain)
    ]
    assert delays == pytest.approx([0.125, 0.3725, 0.25, 0.745, 0.5, 1.49])
    assert isinstance(after_failure(job(), status(500), scene(left_s=0.6)), GiveUp)
    assert isinstance(after_failure(job(SPARE), status(500), scene(left_s=0.4)), GiveUp)


def test_spent_budget_ends_retries_not_failover() -> None:
    assert isinstance(after_failure(job(), status(500), scene(retry=False)), GiveUp)
    assert isinstance(after_failure(job(SPARE), status(500), scene(retry=False)), PassOn)


def test_calls_are_bounded() -> None:
    assert isinstance(after_failure(job(SPARE, calls=MOST_CALLS - 1), status(500), scene()), GiveUp)


def test_own_and_tried_servers_are_left_out() -> None:
    own, same = Target(pool="p", model="m", worker="w", instance="x"), Target(pool="p", model="m", instance="i")
    step = after_failure(job(own, same, SPARE), status(500), scene())
    assert isinstance(step, PassOn)
    assert (step.job.pool, step.job.worker, step.job.calls) == ("spare", "", 1)


def test_busy_engines_words_survive_the_next_ones_failure() -> None:
    busy = UpstreamStatus("busy", status=429, body="", retry_after=7.0)
    step = after_failure(job(SPARE), busy, scene())
    assert isinstance(step, PassOn)
    last = after_failure(step.job, UpstreamRefused("down", next_step="start it"), scene(instance="j", retry=False))
    assert isinstance(last, GiveUp)
    assert (last.problem.status, last.problem.retry_after_s) == (429, 7.0)


def test_engines_key_is_not_the_clients() -> None:
    step = after_failure(job(), status(401), scene(retry=False))
    assert isinstance(step, GiveUp)
    assert step.problem.status == 502
    assert "key" in step.problem.next_step


@pytest.mark.parametrize("fallbacks", [(SPARE,), ()])
def test_answer_goes_on_elsewhere_when_asked(fallbacks: tuple[Target, ...]) -> None:
    cut, had = UpstreamCut("cut", next_step="again", token_seen=True), Resumption(text="Hel", told=2)
    step = after_failure(job(*fallbacks, continuation=True), cut, scene(resumption=had))
    assert isinstance(step, PassOn)
    assert (step.job.resumption, step.job.worker) == (had, "")
    assert step.job.pool == ("spare" if fallbacks else "small")
    assert isinstance(after_failure(job(SPARE, continuation=True), cut, scene()), GiveUp)
    used_up = after_failure(job(SPARE, continuation=True, calls=MOST_CALLS), cut, scene(resumption=had))
    assert isinstance(used_up, GiveUp)


def test_cut_answer_tells_what_it_used() -> None:
    answer = Answer()
    answer.add({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
    answer.add({"choices": [{"index": 0, "delta": {"content": "Hel"}}]})
    spent = answer.spent(engine="e", model="m", prompt_chars=400)
    assert (spent.prompt_tokens, spent.completion_tokens, spent.estimated) == (100, 1, True)
    answer.read('{"usage": {"prompt_tokens": 90, "completion_tokens": 3}}')
    answer.read("[")
    answer.read("[]")
    exact = answer.spent(engine="e", model="m", prompt_chars=400)
    assert (exact.prompt_tokens, exact.completion_tokens, exact.estimated) == (90, 3, False)
    cut = UpstreamCut("cut", next_step="again", token_seen=True)
    step = after_failure(job(), cut, scene(spent=spent))
    assert isinstance(step, GiveUp)
    assert step.problem.spent == spent


def test_resting_engine_says_when_and_is_no_failure() -> None:
    resting = EngineResting("resting", rest_s=3.0)
    step = after_failure(job(), resting, scene())
    assert isinstance(step, GiveUp)
    assert (step.problem.status, step.problem.retry_after_s) == (503, 3.0)
    assert not counts_against(resting)
    assert not counts_against(status(400))
    assert counts_against(status(500))
    assert not counts_against(status(500), first=False)
    assert counts_against(UpstreamRefused("down", next_step="start it"), first=False)
    assert counts_against(UpstreamStatus("busy", status=429, body="", retry_after=7.0), first=False)
    assert asked_rest_s(UpstreamStatus("busy", status=429, body="", retry_after=7.0)) == 7.0
    assert asked_rest_s(status(500)) is None


def test_headers_for_the_caller_are_kept() -> None:
    given = [("X-RateLimit-Limit", "9"), ("OpenAI-Version", "1"), ("Set-Cookie", "a"), ("X-Request-Id", "r")]
    assert kept([*given, ("x-archive-engine", "no"), ("x-powered-by", "p")]) == (
        ("x-ratelimit-limit", "9"),
        ("openai-version", "1"),
    )


@given(st.lists(st.tuples(st.text().map(lambda name: f"x-{name}"), st.text())))
def test_no_header_can_break_an_answer(headers: list[tuple[str, str]]) -> None:
    found = kept(headers)
    assert len(found) <= MOST
    assert all(char.isprintable() and char.isascii() for pair in found for part in pair for char in part)


def test_headers_are_bounded() -> None:
    assert len(kept([(f"x-{number}", "v") for number in range(100)])) == MOST
    assert kept([("x-a", "v" * MOST_BYTES), ("x-b", "v")]) == ()
