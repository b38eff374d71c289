"""An answer as the fold of its messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_console.domain.answers import CUT, Answer, text_of
from archive_contracts.agents import (
    AgentCompleted,
    AnswerDelta,
    ResearchCompleted,
    RunModelReplied,
    RunStarted,
    RunToolReturned,
    Source,
    SourceFound,
    Step,
)
from archive_contracts.base import Failed, Message, Problem
from archive_contracts.chat import ChatCompleted, ChatDelta

SOURCE = Source(number=1, type="library", text="t")
PROBLEM = Problem(code="no_engine", message="No engine.", next_step="Start one.")
DONE = ChatCompleted(engine="bundled", pool="small", model="m", text="Hello")


def fold(*messages: Message) -> Answer:
    answer = Answer()
    for message in messages:
        answer = answer.after(message)
    return answer


def delta(text: str) -> ChatDelta:
    return ChatDelta(body=json.dumps({"choices": [{"delta": {"content": text}}]}))


def test_chat_grows_and_ends() -> None:
    growing = fold(delta("Hel"), delta("lo"))
    assert (growing.text, growing.ended) == ("Hello", False)
    ended = growing.after(DONE)
    assert (ended.text, ended.engine, ended.status) == ("Hello", "bundled", "done")


def test_end_without_text_keeps_what_came() -> None:
    assert fold(delta("Hi"), DONE.model_copy(update={"text": ""})).text == "Hi"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 50))
def test_cut_characters_come_together(text: str, at: int) -> None:
    units = text.encode("utf-16-le")
    cut = min(at * 2, len(units))
    pieces = [part.decode("utf-16-le", "surrogatepass") for part in (units[:cut], units[cut:])]
    assert fold(*map(delta, pieces)).text == text


@given(st.lists(st.text(st.characters())))
def test_any_pieces_can_be_sent(pieces: list[str]) -> None:
    told = fold(*map(delta, pieces))
    assert len(told.text.encode("utf-16-le")) // 2 + len(told.half) == sum(
        len(piece.encode("utf-16-le", "surrogatepass")) // 2 for piece in pieces
    )


def test_answer_that_was_cut_is_complete_and_says_so() -> None:
    cut = fold(DONE.model_copy(update={"finish_reason": "length"}))
    assert (cut.status, cut.text, cut.error) == ("done", "Hello", CUT)
    assert fold(DONE).error is None


def test_nothing_follows_the_end() -> None:
    ended = fold(DONE)
    assert ended.after(delta("more")) is ended


def test_unrelated_message_changes_nothing() -> None:
    assert fold(RunStarted(run_id="r", kind="react", question="q")) == Answer()


def test_research_brings_its_sources() -> None:
    whole = Source(number=1, type="library", text="t", cited=True)
    growing = fold(SourceFound(source=SOURCE), AnswerDelta(text="47"))
    assert (growing.sources, growing.text) == ((SOURCE,), "47")
    ended = growing.after(ResearchCompleted(run_id="r", question="q", answer="47 m", sources=(whole,), engine="e"))
    assert (ended.status, ended.text, ended.sources) == ("done", "47 m", (whole,))


def test_failed_research_keeps_its_part() -> None:
    end = ResearchCompleted(run_id="r", question="q", answer="", success=False, error=PROBLEM)
    ended = fold(SourceFound(source=SOURCE), AnswerDelta(text="47"), end)
    assert (ended.status, ended.text, ended.sources, ended.error) == ("failed", "47", (SOURCE,), PROBLEM)


def test_run_without_cause_says_something() -> None:
    ended = fold(AgentCompleted(run_id="r", answer="", success=False))
    assert (ended.status, ended.error and ended.error.code) == ("failed", "failed")


def test_agent_brings_its_steps() -> None:
    steps = (Step(step_number=1, action="clock"),)
    ended = fold(AgentCompleted(run_id="r", answer="Noon.", steps=steps, engine="e"))
    assert (ended.status, ended.text, ended.steps) == ("done", "Noon.", steps)


def test_stopped_answer_keeps_its_part() -> None:
    stopped = fold(delta("Hel"), Failed(problem=Problem(code="cancelled", message="m", next_step="n")))
    assert (stopped.status, stopped.text, stopped.error) == ("stopped", "Hel", None)


def test_failure_tells_its_cause() -> None:
    assert fold(Failed(problem=PROBLEM)).error == PROBLEM


def test_steps_follow_the_journal() -> None:
    said = json.dumps({"thought": "I look", "action": "search", "action_input": {"query": "ü"}})
    found = fold(
        RunModelReplied(run_id="r", step=2, text="just words"),
        RunModelReplied(run_id="r", step=1, text=said),
        RunToolReturned(run_id="r", step=1, tool="search", observation="47"),
        RunModelReplied(run_id="r", step=3, text="[1]"),
    )
    first, second, third = found.steps
    assert (first.thought, first.action, first.action_input) == ("I look", "search", '{"query": "ü"}')
    assert first.observation == "47"
    assert (second.thought, third.thought) == ("just words", "[1]")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "3",
        "{}",
        '{"choices":[]}',
        '{"choices":[{}]}',
        '{"choices":[{"delta":{"content":[1]}}]}',
        '{"choices":5}',
    ],
)
def test_chunk_without_text_adds_nothing(body: str) -> None:
    assert text_of(body) == ""


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda leaf: st.lists(leaf) | st.dictionaries(st.sampled_from(["choices", "delta", "content", "x"]), leaf),
    )
)
def test_any_chunk_is_survived(found: object) -> None:
    assert isinstance(text_of(json.dumps(found)), str)
