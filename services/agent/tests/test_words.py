from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_agent.domain.sentences import split_sentences
from archive_agent.domain.words import content_units, coverage, inverse_frequencies, is_negated, stem


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("The pumps are running", ["pump", "run"]),
        ("1,200.50 kg or 1200.5 kg", ["1200.5", "kg", "1200.5", "kg"]),
        ("P-204 has three valves", ["p", "204", "3", "valv"]),
        ("Marie's theories", ["mari", "theory"]),
        ("東京都", ["東京", "京都"]),
        ("What does the document say?", []),
    ],
)
def test_content_units(text: str, units: list[str]) -> None:
    assert content_units(text) == units


@pytest.mark.parametrize(
    "group",
    [
        ["operate", "operates", "operated", "operating"],
        ["stop", "stopped", "stops"],
        ["city", "cities"],
        ["box", "boxes"],
    ],
)
def test_forms_share_a_stem(group: list[str]) -> None:
    assert len({stem(word) for word in group}) == 1


def test_different_words_keep_their_stems() -> None:
    assert len({stem(word) for word in ["organ", "organization", "bus", "glass", "sing", "analysis"]}) == 6


def test_negations_are_seen() -> None:
    assert is_negated("It isn’t so")
    assert is_negated("never")
    assert not is_negated("A notable knot")


def test_rare_words_weigh_more() -> None:
    weights = inverse_frequencies([{"a", "b"}, {"a"}, {"a"}])
    assert weights[""] > weights["b"] > weights["a"]
    assert coverage(["a", "b"], {"b"}, weights) > 0.5
    assert coverage([], {"b"}, weights) == 0.0


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. J. Smith weighs 3.5 kg. He left.", ["Dr. J. Smith weighs 3.5 kg.", "He left."]),
        ("See e.g. Fig. 3 and p. 7. Done.", ["See e.g. Fig. 3 and p. 7.", "Done."]),
        ("A line\nbroken by a PDF. Next", ["A line\nbroken by a PDF.", "Next"]),
        ("Heading\n\nBody text", ["Heading", "Body text"]),
        ('He said "Go." She went.', ['He said "Go."', "She went."]),
        ("1. First item. 2. Second item.", ["1. First item.", "2. Second item."]),
        ("今日は。明日", ["今日は。", "明日"]),
        ("wait... what", ["wait... what"]),
        ("He paid (. Then he left.", ["He paid (.", "Then he left."]),
        ("  ", []),
    ],
)
def test_splits_sentences(text: str, sentences: list[str]) -> None:
    assert [text[span.start : span.end] for span in split_sentences(text)] == sentences


@given(st.text(alphabet='ab AB.!?\n。1)"', max_size=80) | st.text(max_size=80))
def test_sentences_cover_the_text(text: str) -> None:
    spans = split_sentences(text)
    assert all(left.end <= right.start for left, right in pairwise(spans))
    joined = "".join(text[span.start : span.end] for span in spans)
    assert "".join(joined.split()) == "".join(text.split())
