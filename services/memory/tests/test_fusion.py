"""Laws of one ranking out of several."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_memory.domain.fusion import (
    ChunkWeights,
    TurnPlace,
    TurnWeights,
    fuse,
    fuse_chunks,
    fuse_turns,
    normalised,
    ranked,
    windowed,
)

scores = st.dictionaries(st.integers(0, 20), st.floats(-10, 100), max_size=12)
lists = st.lists(st.tuples(st.floats(0, 5), scores), max_size=5)


@given(scores)
def test_best_score_becomes_one(values: dict[int, float]) -> None:
    result = normalised(values)
    assert all(0 <= score <= 1 for score in result.values())
    assert max(result.values(), default=0) == (1 if max(values.values(), default=0) > 0 else 0)


@given(lists)
def test_order_of_input_is_irrelevant(weighted: list[tuple[float, dict[int, float]]]) -> None:
    shuffled = [(weight, dict(reversed(values.items()))) for weight, values in reversed(weighted)]
    assert fuse(shuffled) == fuse(weighted)
    assert ranked(fuse(shuffled)) == ranked(fuse(weighted))


@given(scores.filter(bool), scores, st.floats(0.01, 50), st.data())
def test_better_score_never_ranks_worse(
    words: dict[int, float], vector: dict[int, float], gain: float, data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(words)))
    before = fuse_chunks(words, vector, ChunkWeights())
    after = fuse_chunks(words | {key: words[key] + gain}, vector, ChunkWeights())
    overtaken = [other for other in before if before[other] < before[key] and after[other] > after[key]]
    assert not overtaken


@given(scores, st.floats(0.001, 1000))
def test_scale_of_a_list_is_irrelevant(values: dict[int, float], factor: float) -> None:
    plain, scaled = normalised(values), normalised({key: score * factor for key, score in values.items()})
    assert all(math.isclose(plain[key], scaled[key], abs_tol=1e-9) for key in plain)


def test_equal_scores_rank_by_key() -> None:
    assert ranked({7: 1.0, 2: 1.0, 5: 3.0}) == [5, 2, 7]


def test_weights_decide_between_signals() -> None:
    words, vector = {1: 5.0, 2: 1.0}, {1: 0.1, 2: 0.9}
    assert ranked(fuse_chunks(words, vector, ChunkWeights(words=1, vector=0.2))) == [1, 2]
    assert ranked(fuse_chunks(words, vector, ChunkWeights(words=0.2, vector=1))) == [2, 1]


PLACES = {
    1: TurnPlace("a", None, 2),
    2: TurnPlace("a", 1, 3),
    3: TurnPlace("a", 2, None),
    9: TurnPlace("b"),
}


def test_window_sums_three_turns() -> None:
    assert windowed({1: 1.0, 2: 2.0, 3: -4.0}, PLACES) == {1: 3.0, 2: 3.0, 3: 2.0, 9: 0.0}


def test_answer_beside_match_is_lifted() -> None:
    result = fuse_turns({1: 8.0, 9: 7.9}, {}, PLACES, TurnWeights())
    assert ranked(result)[0] == 1
    assert result[2] > result[3]


@given(scores, scores)
def test_placed_turns_all_get_scores(words: dict[int, float], vector: dict[int, float]) -> None:
    places = {turn: TurnPlace("a" if turn % 2 else "b") for turn in {*words, *vector}}
    result = fuse_turns(words, vector, places, TurnWeights())
    assert result.keys() == places.keys()
    assert all(math.isfinite(score) and score >= 0 for score in result.values())


@pytest.mark.parametrize("place", [TurnPlace("a"), TurnPlace("a", 4, None), TurnPlace("a", 4, 6)])
def test_missing_neighbours_count_nothing(place: TurnPlace) -> None:
    assert windowed({4: 1.0, 5: 2.0}, {5: place})[5] == (3.0 if place.before else 2.0)
