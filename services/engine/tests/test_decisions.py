"""What an answer amounts to, and what follows a failure."""

import pytest

from archive_contracts.chat import ChatRequested, Usage
from archive_contracts.engine import GenerateRequested, Target
from archive_engine.domain.answer import Answer
from archive_engine.domain.errors import UpstreamCut, UpstreamRefused, UpstreamStatus
from archive_engine.domain.failover import GiveUp, PassOn, TryAgain, after_failure, problem_of

SPARE = Target(pool="spare", model="n")


def job(*fallbacks: Target) -> GenerateRequested:
    request = ChatRequested(body="{}", model="m")
    return GenerateRequested(request=request, request_id="r", pool="small", model="m", fallbacks=fallbacks)


def status(code: int, body: str = "") -> UpstreamStatus:
    return UpstreamStatus("refused", status=code, body=body)


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
    step = after_failure(job(SPARE), status(500), engine="e", attempt=1, attempts=3)
    assert isinstance(step, PassOn)
    assert (step.job.pool, step.job.model, step.job.fallbacks, step.job.tried) == ("spare", "n", (), ("e",))


def test_without_fallback_it_is_tried_again() -> None:
    steps = [after_failure(job(), status(503), engine="e", attempt=n, attempts=3) for n in (1, 2, 3)]
    assert [type(step) for step in steps] == [TryAgain, TryAgain, GiveUp]


@pytest.mark.parametrize("code", [400, 404, 422])
def test_clients_fault_is_not_tried_elsewhere(code: int) -> None:
    step = after_failure(job(SPARE), status(code), engine="e", attempt=1, attempts=3)
    assert isinstance(step, GiveUp)
    assert step.problem.status == code


def test_busy_engine_is_not_asked_again() -> None:
    step = after_failure(job(), status(429), engine="e", attempt=1, attempts=3)
    assert isinstance(step, GiveUp)


def test_after_the_first_token_nothing_else_answers() -> None:
    cut = UpstreamCut("cut", next_step="again", token_seen=True)
    step = after_failure(job(SPARE), cut, engine="e", attempt=1, attempts=3)
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
