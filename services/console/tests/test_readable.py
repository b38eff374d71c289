"""Fields of a message as people read them."""

from hypothesis import given
from hypothesis import strategies as st

from archive_console.domain.readable import SHOWN_CHARS, readable


def test_json_is_laid_out() -> None:
    assert readable({b"data": b'{"a":["\xc3\xa9"]}'}) == [("data", '{\n  "a": [\n    "\u00e9"\n  ]\n}')]


def test_half_a_character_can_be_shown() -> None:
    assert readable({b"data": rb'{"a":"\ud83d"}'}) == [("data", '{\n  "a": "?"\n}')]


def test_bottomless_json_stays_as_it_is() -> None:
    ((_, shown),) = readable({b"data": b"[" * 10_000})
    assert shown == "[" * 10_000


def test_words_that_only_begin_like_json_stay() -> None:
    assert readable({b"data": b"{no json"}) == [("data", "{no json")]


def test_bytes_are_told_as_bytes() -> None:
    assert readable({b"data": b"\xff\x00"}) == [("data", r"b'\xff\x00'")]


@given(st.integers(1, 500))
def test_length_is_bounded(more: int) -> None:
    ((_, shown),) = readable({b"data": b"x" * (SHOWN_CHARS + more)})
    assert shown == "x" * SHOWN_CHARS + f"\n\u2026 {more} more"
