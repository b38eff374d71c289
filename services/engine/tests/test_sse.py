from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_engine.domain.sse import EventTooLarge, SseEvent, SseParser

Line = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
Events = st.lists(st.lists(Line, min_size=1, max_size=4), max_size=6)


def _parse(stream: bytes, cuts: list[int]) -> list[SseEvent]:
    parser = SseParser()
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[begin:end] for begin, end in pairwise(edges)]
    return [event for piece in pieces for event in parser.feed(piece)]


@given(events=Events, newline=st.sampled_from(["\n", "\r\n", "\r"]), cuts=st.lists(st.integers(0), max_size=12))
def test_any_boundaries_same_events(events: list[list[str]], newline: str, cuts: list[int]) -> None:
    text = "".join(
        f": ping{newline}" + "".join(f"data: {line}{newline}" for line in lines) + newline for lines in events
    )
    assert _parse(text.encode(), cuts) == [SseEvent("\n".join(lines)) for lines in events]


@given(stream=st.binary(max_size=200), cuts=st.lists(st.integers(0), max_size=12))
def test_any_bytes_parse_alike(stream: bytes, cuts: list[int]) -> None:
    assert _parse(stream, cuts) == _parse(stream, [])


def test_fields_follow_the_standard() -> None:
    stream = b"\xef\xbb\xbfdata:no space\nid: 7\nretry: 10\nunknown\n\nevent: error\ndata\ndata: x\n\nevent: lost\n\n"
    assert _parse(stream, []) == [SseEvent("no space"), SseEvent("\nx", "error")]


def test_line_end_may_be_cut_in_two() -> None:
    parser = SseParser()
    assert parser.feed(b"data: one\r") == []
    assert parser.feed(b"\ndata: two\r\n\r") == [SseEvent("one\ntwo")]
    assert parser.feed(b"\ndata: three\r\r") == [SseEvent("three")]


def test_last_event_without_blank_line() -> None:
    parser = SseParser()
    assert parser.feed(b"data: [DONE]") == []
    assert parser.finish() == [SseEvent("[DONE]")]
    assert parser.finish() == []


def test_endless_event_is_refused() -> None:
    parser = SseParser(limit=100)
    endless = (parser.feed(b"data: no end in sight\n") for _ in range(100))
    with pytest.raises(EventTooLarge):
        list(endless)


def test_many_small_events_pass() -> None:
    parser = SseParser(limit=100)
    assert sum(len(parser.feed(b"data: short\n\n")) for _ in range(100)) == 100
