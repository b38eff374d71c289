"""Judging answers that were streamed while everything was killed: each broken promise is seen."""

import json
from dataclasses import replace

import pytest

from archive_testkit.answers.told import Log, Told, broken, text_of

PIECES = ["w0 ", "w1 "]
WHOLE = [
    *((place, json.dumps({"choices": [{"delta": {"content": piece}}]})) for place, piece in enumerate(PIECES, 1)),
    (3, "[DONE]"),
]
GOOD = Told(number=1, wanted=2, stream="s", events=WHOLE, end="done")


def test_good_answers_pass() -> None:
    assert broken(GOOD, WHOLE, PIECES) == broken(GOOD, None, None) == []
    cut = replace(GOOD, events=WHOLE[:1], end="error", why="upstream_cut")
    assert broken(cut, [*WHOLE[:1], (2, "{}")], PIECES) == []
    lost = replace(GOOD, events=WHOLE[:1], end="refused", why="404 stream_not_found")
    assert broken(lost, None, PIECES) == []


@pytest.mark.parametrize(
    ("told", "log"),
    [
        (replace(GOOD, end=""), None),
        (replace(GOOD, notes=["silent for 45 s"]), WHOLE),
        (replace(GOOD, events=[WHOLE[0], WHOLE[0], *WHOLE[1:]]), None),
        (replace(GOOD, events=[WHOLE[1], WHOLE[0], WHOLE[2]]), None),
        (replace(GOOD, events=WHOLE[1:]), None),
        (replace(GOOD, events=[WHOLE[0], WHOLE[2]]), None),
        (replace(GOOD, events=[WHOLE[0], WHOLE[2]]), WHOLE),
        (GOOD, [*WHOLE[:2], (3, "{}")]),
        (GOOD, WHOLE[:2]),
        (replace(GOOD, events=WHOLE[:1], end="refused", why="404 stream_not_found"), WHOLE),
        (replace(GOOD, events=WHOLE[:1], end="refused", why="500"), None),
    ],
)
def test_broken_promise_is_seen(told: Told, log: Log) -> None:
    assert broken(told, log, PIECES)


def test_pieces_without_text_are_empty() -> None:
    assert [text_of(data) for data in ("[DONE]", "{}", '{"choices": [{"delta": {}}]}')] == ["", "", ""]
