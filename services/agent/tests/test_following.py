"""Questions that refer back to what was said."""

import pytest
from agent_peers import passage
from hypothesis import given
from hypothesis import strategies as st

from archive_agent.domain.budget import estimated_tokens
from archive_agent.domain.consulted import in_turn
from archive_agent.domain.fitting import message_tokens
from archive_agent.domain.following import earlier, refers_back, searches, subject
from archive_contracts.agents import EarlierTurn

CRANES = EarlierTurn(question="Which cranes stand in the harbour?", answer="The red one and the blue one [Source 1].")


@pytest.mark.parametrize(
    "question",
    [
        "And what about the second one?",
        "Why?",
        "How much does it lift?",
        "What does that mean?",
        "Who built them?",
        "And in winter?",
        "Is that true?",
        "How about Bergen harbour?",
        "Which colour?",
        "What is the price?",
    ],
)
def test_reference_is_noticed(question: str) -> None:
    assert refers_back(question)


@pytest.mark.parametrize(
    "question",
    [
        "How tall is the lighthouse of Ardmore?",
        "Who wrote the report that won the prize?",
        "When was the harbour crane built?",
        "What is photosynthesis?",
        "Where is Bergen?",
        "What do you know about quolls?",
    ],
)
def test_whole_question_stands_alone(question: str) -> None:
    assert not refers_back(question)
    assert subject(question, [CRANES]) == question
    assert searches(question, [CRANES]) == [question]
    assert earlier(question, [CRANES], room=500, count_tokens=estimated_tokens) == []


def test_search_takes_what_was_said_along() -> None:
    question = "And how much does the second one lift?"
    with_it, alone = searches(question, [CRANES])
    assert alone == question
    assert with_it == f"{CRANES.question}\nThe red one and the blue one.\n{question}"
    assert subject(question, [CRANES]) == f"{CRANES.question}\n{question}"
    assert searches(question, []) == [question]


def test_reference_is_traced_to_its_subject() -> None:
    turns = [
        EarlierTurn(question="Where do quolls sleep?", answer="In logs."),
        CRANES,
        EarlierTurn(question="And the second one?", answer="It is blue."),
    ]
    assert subject("Why?", turns) == f"{CRANES.question}\nAnd the second one?\nWhy?"


def test_reference_without_a_subject_takes_all() -> None:
    assert subject("Why?", [EarlierTurn(question="And then?", answer="It rains.")]) == "And then?\nWhy?"


def test_searches_give_hits_by_turns() -> None:
    one, two, three = (passage(name, document=name) for name in ("one", "two", "three"))
    assert in_turn([[one, two], [three, one], []], limit=5) == [one, three, two]
    assert in_turn([[one, two], [three]], limit=2) == [one, three]


def test_model_sees_turns_without_markers() -> None:
    told = earlier("And the other?", [CRANES], room=500, count_tokens=estimated_tokens)
    assert [(message.role, message.content) for message in told] == [
        ("user", CRANES.question),
        ("assistant", "The red one and the blue one."),
    ]


@given(
    st.lists(st.builds(EarlierTurn, question=st.text(max_size=900), answer=st.text(max_size=900)), max_size=5),
    st.integers(0, 600),
)
def test_turns_never_take_more_than_room(turns: list[EarlierTurn], room: int) -> None:
    told = earlier("Why?", turns, room=room, count_tokens=estimated_tokens)
    assert message_tokens(told, estimated_tokens) <= room
    assert len(told) % 2 == 0
