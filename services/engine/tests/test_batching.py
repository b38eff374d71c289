import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_engine.domain.batching import Batcher

Costs = st.lists(st.integers(0, 50), min_size=1, max_size=20)


def _drain(batcher: Batcher[int, tuple[int, int]]) -> tuple[dict[int, list[tuple[int, int]]], list[int]]:
    finished: dict[int, list[tuple[int, int]]] = {}
    sizes: list[int] = []
    while batch := batcher.take():
        sizes.append(len(batch))
        finished.update(batcher.put(batch, [(item.key, item.index) for item in batch]))
    return finished, sizes


@given(requests=st.lists(Costs, max_size=8), max_texts=st.integers(1, 10), max_tokens=st.integers(1, 60))
def test_every_request_gets_its_rows(requests: list[list[int]], max_texts: int, max_tokens: int) -> None:
    batcher: Batcher[int, tuple[int, int]] = Batcher(max_texts=max_texts, max_tokens=max_tokens)
    for key, costs in enumerate(requests):
        batcher.add(key, costs)
    assert len(batcher) == sum(map(len, requests))

    finished, _ = _drain(batcher)

    assert finished == {key: [(key, index) for index in range(len(costs))] for key, costs in enumerate(requests)}
    assert len(batcher) == 0


@given(requests=st.lists(Costs, min_size=1, max_size=8), max_texts=st.integers(1, 10), max_tokens=st.integers(1, 60))
def test_batches_keep_their_bounds(requests: list[list[int]], max_texts: int, max_tokens: int) -> None:
    batcher: Batcher[int, int] = Batcher(max_texts=max_texts, max_tokens=max_tokens)
    for key, costs in enumerate(requests):
        batcher.add(key, costs)
    while batch := batcher.take():
        tokens = sum(requests[item.key][item.index] for item in batch)
        assert len(batch) <= max_texts
        assert tokens <= max_tokens or len(batch) == 1


def test_short_request_overtakes_long() -> None:
    batcher: Batcher[str, str] = Batcher(max_texts=4, max_tokens=1000)
    batcher.add("long", [10] * 500)
    batcher.add("short", [10])
    batch = batcher.take()
    assert [key for key, _ in batcher.put(batch, ["row"] * len(batch))] == ["short"]


def test_dropped_request_never_returns() -> None:
    batcher: Batcher[str, int] = Batcher(max_texts=2, max_tokens=10)
    batcher.add("gone", [1, 1, 1])
    batcher.add("kept", [1])
    batch = batcher.take()
    batcher.drop("gone")
    assert batcher.put(batch, list(range(len(batch)))) == [("kept", [1])]
    assert batcher.take() == []


def test_impossible_bounds_are_refused() -> None:
    for bounds in ({"max_texts": 0, "max_tokens": 1}, {"max_texts": 1, "max_tokens": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            Batcher[str, int](**bounds)


def test_request_opens_only_once() -> None:
    batcher: Batcher[str, int] = Batcher(max_texts=1, max_tokens=1)
    batcher.add("a", [1])
    for key, costs in (("a", [1]), ("b", [])):
        with pytest.raises(ValueError, match="open already or has no texts"):
            batcher.add(key, costs)
