import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_librarian.domain.sentences import sentence_spans


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One ends. Two follows.", ["One ends.", "Two follows."]),
        ("Dr. Smith met J. R. Tolkien. They spoke.", ["Dr. Smith met J. R. Tolkien.", "They spoke."]),
        ("It costs 3.14 euro. Cheap!", ["It costs 3.14 euro.", "Cheap!"]),
        ("See Fig. 3 and e.g. this one. Done.", ["See Fig. 3 and e.g. this one.", "Done."]),
        ("He said “Stop.” Then he left.", ["He said “Stop.”", "Then he left."]),
        ('"Why?" she asked. Nobody knew.', ['"Why?" she asked.', "Nobody knew."]),
        ("1. Open the lid. Look inside.", ["1. Open the lid.", "Look inside."]),
        ("Wait... what is it? A cat.", ["Wait... what is it?", "A cat."]),
        ("The answer is no. We stop.", ["The answer is no.", "We stop."]),
        ("Room No. 5 is free. Take it.", ["Room No. 5 is free.", "Take it."]),
        ("今天下雨。我们回家！好吗？", ["今天下雨。", "我们回家！", "好吗？"]),
        ("It ends here. «(", ["It ends here.", "«("]),
        ("A heading\nThen text. More", ["A heading", "Then text.", "More"]),
        ("Das gilt z.B. hier, vgl. Abb. 2. Ende.", ["Das gilt z.B. hier, vgl. Abb. 2.", "Ende."]),
    ],
)
def test_splits_at_real_ends(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@given(st.text(alphabet="aB1.!? \n\"'。”)éß", max_size=200))
def test_spans_cover_all_visible(text: str) -> None:
    spans = list(sentence_spans(text))
    covered = "".join(text[start:end] for start, end in spans)
    assert "".join(covered.split()) == "".join(text.split())
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    assert all(not text[start].isspace() and not text[end - 1].isspace() for start, end in spans)
