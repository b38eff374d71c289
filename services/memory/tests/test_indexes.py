"""What every vector index promises, tried on each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_memory.adapters.exact import ExactIndex, best_rows
from archive_memory.adapters.hnsw import HnswIndex
from archive_memory.domain.errors import SnapshotCorrupt, VectorsRejected
from archive_memory.domain.index import Ids, Matrix, VectorIndex, unit

DIM = 32


class Truth:
    """The vectors that an index is a cache of, and what a full comparison in float says."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self.rows: dict[int, Matrix] = {}

    def make(self, count: int, start: int = 1) -> tuple[Ids, Matrix]:
        ids = np.arange(start, start + count, dtype=np.int64)
        vectors = unit(self._random.standard_normal((count, DIM)))
        self.rows.update(zip(ids.tolist(), vectors, strict=True))
        return ids, vectors

    def fetch(self, ids: Ids) -> tuple[Ids, Matrix]:
        known = [i for i in ids.tolist() if i in self.rows]
        rows = np.array([self.rows[i] for i in known], np.float32).reshape(len(known), DIM)
        return np.array(known, np.int64), rows

    def query(self) -> Matrix:
        return unit(self._random.standard_normal((1, DIM)))[0]

    def nearest(self, q: Matrix, k: int, allow: set[int] | None = None) -> list[int]:
        scores = {i: float(v @ q) for i, v in self.rows.items() if allow is None or i in allow}
        return sorted(scores, key=lambda i: -scores[i])[:k]


Make = Callable[[Truth], VectorIndex]


def exact(truth: Truth) -> VectorIndex:
    return ExactIndex(DIM, truth.fetch)


def graph(_: Truth) -> VectorIndex:
    return HnswIndex(DIM)


def ids_of(*values: int) -> Ids:
    return np.array(values, np.int64)


@pytest.mark.parametrize("make", [exact, graph])
class TestVectorIndex:
    def test_nearest_vectors_are_found(self, make: Make) -> None:
        truth = Truth()
        index = make(truth)
        index.add(*truth.make(2000))
        queries = [truth.query() for _ in range(20)]
        found = [set(index.search(q, 10).ids.tolist()) & set(truth.nearest(q, 10)) for q in queries]
        assert sum(map(len, found)) >= 0.95 * 200

    def test_scores_are_cosines(self, make: Make) -> None:
        truth = Truth()
        index = make(truth)
        ids, vectors = truth.make(50)
        index.add(ids, vectors * 3)
        q = truth.query()
        found = index.search(q * 5, 7)
        assert np.allclose(found.scores, [truth.rows[i] @ q for i in found.ids.tolist()], atol=1e-3)
        assert (np.diff(found.scores) <= 0).all()

    def test_empty_index_finds_nothing(self, make: Make) -> None:
        truth = Truth()
        assert len(make(truth).search(truth.query(), 5).ids) == 0

    def test_removed_vectors_stay_gone(self, make: Make) -> None:
        truth = Truth()
        index = make(truth)
        index.add(*truth.make(300))
        gone = ids_of(*range(1, 300, 2))
        for i in gone.tolist():
            del truth.rows[i]
        index.remove(gone)
        index.remove(ids_of(1, 9999))
        assert set(index.ids().tolist()) == set(truth.rows)
        assert set(index.search(truth.query(), 300).ids.tolist()) == set(truth.rows)

    def test_adding_again_changes_nothing(self, make: Make) -> None:
        truth = Truth()
        index = make(truth)
        ids, vectors = truth.make(20)
        index.add(ids, vectors)
        index.add(np.concatenate([ids, ids]), np.concatenate([vectors, vectors]))
        assert index.stats().vectors == 20
        assert sorted(index.search(truth.query(), 100).ids.tolist()) == ids.tolist()

    @pytest.mark.parametrize("allowed", [0, 1, 40, 4500, 5900])
    def test_filter_is_kept(self, make: Make, allowed: int) -> None:
        truth = Truth()
        index = make(truth)
        index.add(*truth.make(6000))
        allow = set(range(10, 10 + allowed))
        q = truth.query()
        found = index.search(q, 10, ids_of(*allow, 99_999)).ids.tolist()
        assert set(found) <= allow
        assert len(set(found) & set(truth.nearest(q, 10, allow))) >= 0.9 * min(10, allowed)

    def test_wrong_dimension_is_refused(self, make: Make) -> None:
        index = make(Truth())
        with pytest.raises(VectorsRejected):
            index.add(ids_of(1), np.ones((1, DIM + 1), np.float32))
        with pytest.raises(VectorsRejected):
            index.add(ids_of(1, 2), np.ones((1, DIM), np.float32))
        with pytest.raises(VectorsRejected):
            index.search(np.ones(DIM - 1, np.float32), 3)
        with pytest.raises(VectorsRejected):
            index.add(ids_of(1), np.full((1, DIM), np.nan, np.float32))

    def test_snapshot_comes_back_whole(self, make: Make, tmp_path: Path) -> None:
        truth = Truth()
        index, copy = make(truth), make(truth)
        index.add(*truth.make(500))
        index.remove(ids_of(3, 4))
        index.snapshot(tmp_path / "vectors")
        copy.load(tmp_path / "vectors")
        q = truth.query()
        assert sorted(copy.ids().tolist()) == sorted(index.ids().tolist())
        assert copy.search(q, 10).ids.tolist() == index.search(q, 10).ids.tolist()
        copy.add(*truth.make(600, start=1000))
        assert copy.stats().vectors == 1098
        assert [path.name for path in tmp_path.iterdir()] == ["vectors"]

    @pytest.mark.parametrize("damage", ["flip", "cut", "grow", "gone", "empty"])
    def test_damaged_snapshot_is_detected(self, make: Make, tmp_path: Path, damage: str) -> None:
        truth, path = Truth(), tmp_path / "vectors"
        index = make(truth)
        index.add(*truth.make(100))
        index.snapshot(path)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        damaged = {"flip": bytes(content), "cut": path.read_bytes()[:-100], "grow": path.read_bytes() + b"x"}
        path.unlink()
        if damage != "gone":
            path.write_bytes(damaged.get(damage, b""))
        with pytest.raises(SnapshotCorrupt):
            index.load(path)
        assert index.stats().vectors == 100

    def test_foreign_dimension_snapshot_is_refused(self, make: Make, tmp_path: Path) -> None:
        truth = Truth()
        other = HnswIndex(DIM * 2) if isinstance(make(truth), HnswIndex) else ExactIndex(DIM * 2, truth.fetch)
        other.add(ids_of(1, 2), np.eye(2, DIM * 2, dtype=np.float32))
        other.snapshot(tmp_path / "vectors")
        with pytest.raises(SnapshotCorrupt):
            make(truth).load(tmp_path / "vectors")

    def test_searching_while_writing_is_safe(self, make: Make) -> None:
        truth = Truth()
        index = make(truth)
        batches = [truth.make(50, start=1 + 50 * i) for i in range(20)]
        queries = [truth.query() for _ in range(8)]
        failures: list[BaseException] = []
        stop = threading.Event()

        def search() -> None:
            try:
                while not stop.is_set():
                    for q in queries:
                        index.search(q, 10)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        for ids, vectors in batches:
            index.add(ids, vectors)
            index.remove(ids[:25])
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert index.stats().vectors == 500


def test_exact_scan_misses_nothing() -> None:
    truth = Truth(7)
    index = ExactIndex(DIM, truth.fetch)
    index.add(*truth.make(5000))
    for _ in range(50):
        q = truth.query()
        assert index.search(q, 10).ids.tolist() == truth.nearest(q, 10)


@given(st.integers(1, 2000), st.integers(1, 60), st.integers(0, 5))
def test_picked_rows_are_the_best(count: int, k: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(-20, 20, count).astype(np.float32)
    rows = best_rows(scores, k)
    assert len(set(rows.tolist())) == min(k, count)
    assert np.array_equal(np.sort(scores[rows]), np.sort(scores)[-k:])


def test_exact_skips_vanished_vectors() -> None:
    truth = Truth()
    index = ExactIndex(DIM, truth.fetch)
    index.add(*truth.make(10))
    del truth.rows[4]
    assert 4 not in index.search(truth.query(), 10).ids


def test_graph_refuses_used_labels() -> None:
    truth = Truth()
    index = HnswIndex(DIM)
    index.add(*truth.make(50))
    index.remove(ids_of(7))
    with pytest.raises(VectorsRejected):
        index.add(ids_of(7), truth.query()[None])


def test_graph_rebuilds_above_fifth_dead() -> None:
    truth = Truth()
    index = HnswIndex(DIM)
    index.add(*truth.make(100))
    index.remove(ids_of(*range(1, 21)))
    assert index.stats().tombstones == 20
    index.remove(ids_of(21))
    assert index.stats().tombstones == 0
    assert index.stats().vectors == 79


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 40), max_size=12)), max_size=12))
def test_exact_follows_any_history(history: list[tuple[bool, set[int]]]) -> None:
    truth = Truth()
    index = ExactIndex(DIM, truth.fetch)
    pool = dict(zip(range(41), truth.make(41)[1], strict=True))
    truth.rows.clear()
    for adding, chosen in history:
        ids = ids_of(*sorted(chosen))
        if adding:
            truth.rows.update({i: pool[i] for i in chosen})
            index.add(ids, np.array([pool[i] for i in ids.tolist()], np.float32).reshape(len(ids), DIM))
        else:
            index.remove(ids)
            for i in chosen:
                truth.rows.pop(i, None)
    assert set(index.ids().tolist()) == set(truth.rows)
    assert set(index.search(pool[0], 50).ids.tolist()) == set(truth.rows)
