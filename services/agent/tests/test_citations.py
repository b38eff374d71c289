import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_agent.domain.citations import CitationStream, attribute, check, find_claims, supports

SOURCES = {
    1: "The P-204 pump has a maximum operating pressure of 12 bar. It weighs 38 kg.",
    2: "The office opens at 8:30 on weekdays. Visitors must sign in at the desk.",
}
QUESTION = "What is the maximum pressure of the pump?"


def streamed(*deltas: str, question: str = QUESTION) -> CitationStream:
    stream = CitationStream(SOURCES, question=question)
    delivered = "".join([*(stream.feed(delta) for delta in deltas), stream.close()])
    assert delivered == stream.text
    return stream


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a [Source 1].", (1,)),
        ("a [1] b [ source 2 ]", (1, 2)),
        ("a [Source 1, 2]", (1, 2)),
        ("a [Sources 1 and 3]", (1, 3)),
        ("a [Source 1, Source 2, and Source 3]", (1, 2, 3)),
        ("a [1][2]", (1, 2)),
        ("a [Sources 2-4]", (2, 3, 4)),
        ("a [Source #3; 1]", (3, 1)),
        ("a [sic] [x1] [Source] [1999] 1 (2)", ()),
    ],
)
def test_finds_markers(text: str, numbers: tuple[int, ...]) -> None:
    assert [claim.numbers for claim in find_claims(text)] == [numbers]


def test_markers_belong_to_their_sentence() -> None:
    claims = find_claims("A pump. [Source 1] Dr. Smith has 3.5 kg [2]. Neither.\n1. An item [Source 3]\n2. Another")
    assert [(claim.text, claim.numbers) for claim in claims] == [
        ("A pump.", (1,)),
        ("Dr. Smith has 3.5 kg .", (2,)),
        ("Neither.", ()),
        ("An item", (3,)),
        ("Another", ()),
    ]


def test_cited_needs_reference_and_support() -> None:
    report = check("It runs at a pressure of 12 bar [Source 1]. It is blue [Source 2]. See [Source 9].", SOURCES)
    assert report.cited == {1}
    assert report.unsupported == {2}
    assert report.invalid == (9,)


def test_spoken_references_count() -> None:
    assert check("According to source 1, the pump weighs 38 kg.", SOURCES).cited == {1}


@pytest.mark.parametrize(
    ("claim", "supported"),
    [
        ("The maximum operating pressure of the pump is 12 bar", True),
        ("Operating pressures of pumps: 12.0 bars", True),
        ("The maximum operating pressure of the pump is 13 bar", False),
        ("The pump does not weigh 38 kg", False),
        ("The turbine was painted green in Oslo", False),
        ("pump", True),
        ("", False),
    ],
)
def test_support_by_overlap(claim: str, supported: bool) -> None:
    assert supports(claim, SOURCES[1]) is supported


def test_missing_markers_are_added() -> None:
    stream = streamed("The maximum operating pressure is 12 bar. It weighs 38 kg.\nI hope this helps!")
    assert stream.text == (
        "The maximum operating pressure is 12 bar [Source 1]. It weighs 38 kg [Source 1].\nI hope this helps!"
    )
    assert stream.attributed == {1}
    assert stream.report().cited == {1}


def test_list_items_are_attributed_alone() -> None:
    stream = streamed("1. Pump pressure: 12 bar\n2. The office opens at 8:30 on weekdays\n")
    assert stream.text == ("1. Pump pressure: 12 bar [Source 1]\n2. The office opens at 8:30 on weekdays [Source 2]\n")


def test_a_model_that_cites_is_left_alone() -> None:
    answer = "The pump weighs 38 kg [Source 1]. Its maximum pressure is 12 bar."
    stream = streamed(answer)
    assert stream.text == answer
    assert not stream.attributed


@pytest.mark.parametrize(
    "answer",
    [
        "The question is about the maximum pressure of the pump.",
        "The maximum pressure of the pump is 14 bar.",
        "The pump does not weigh 38 kg.",
        "I do not know.",
    ],
)
def test_unsupported_sentences_get_no_marker(answer: str) -> None:
    assert streamed(answer).text == answer


def test_attribution_picks_the_best_source() -> None:
    sources = {1: "The pump weighs 38 kg empty.", 2: "The red pump weighs 38 kg."}
    assert attribute("The red pump weighs 38 kg.", sources) == 2
    assert attribute("The pump weighs 38 kg.", sources) == 1


def test_words_pass_before_their_sentence_ends() -> None:
    stream = CitationStream(SOURCES, question=QUESTION)
    assert stream.feed("The maximum operating") == "The maximum operating"
    assert stream.feed(" pressure is 12 bar") == " pressure is 12 bar"
    assert stream.feed(".") == ""
    assert stream.feed(" It") == " [Source 1]. It"


VOCABULARY = (
    "The pump pressure is 12 bar . ? ! … 。 [Source 1] [Source [1 ] \n \n\n It weighs 38 kg 3.5 Dr. e.g. 1. - "
    'office opens at 8:30 on weekdays ) " : ; x'
)
answers = st.lists(st.sampled_from(VOCABULARY.split(" ")), max_size=40).map(
    lambda words: " ".join(words).replace(" .", ".")
)


@given(answers, st.data())
def test_cuts_do_not_change_the_text(answer: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(answer)), max_size=12)) | {0, len(answer)})
    pieces = [answer[start:end] for start, end in pairwise(cuts)]
    assert streamed(*pieces).text == streamed(answer).text == streamed(*answer).text


ADDED_LENGTH = len(" [Source 1]")


def additions(delivered: str, answer: str) -> int:
    return delivered.count("[Source") - answer.count("[Source")


@given(answers | st.text(max_size=100))
def test_only_markers_are_added(answer: str) -> None:
    stream = streamed(answer)
    position = 0
    for piece in re.split(r" \[Source [12]\]", stream.text):
        position = answer.index(piece, position) + len(piece)
    assert len(stream.text) == len(answer) + ADDED_LENGTH * additions(stream.text, answer)
    assert stream.attributed <= stream.report().cited


def test_repeated_label_of_a_source_claims_nothing() -> None:
    answer = "The source that answers is: [Source 1] manual.pdf, p. 7: The P-204 pump weighs 38 kg."
    assert streamed(answer).report().cited == {1}
    wrong = answer.replace("38", "7")
    assert streamed(wrong).report().cited == frozenset()


def test_version_is_not_cut_in_two() -> None:
    (claim,) = find_claims("The office of v. 2.0 opens at 8:30.")
    assert claim.text == "The office of v. 2.0 opens at 8:30."
