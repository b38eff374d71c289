"""Rules of the catalogue and of windows."""

from __future__ import annotations

import numpy as np
import pytest

from archive_contracts.documents import DocumentStatus
from archive_memory.domain.catalogue import (
    NewTurn,
    after_failure,
    after_queueing,
    is_stale,
    ready_status,
    superseded,
    turn_hash,
    turn_id,
)
from archive_memory.domain.errors import MemoryServiceError, VectorsRejected
from archive_memory.domain.index import check_query, unit
from archive_memory.domain.windows import WindowVectors, best_windows, cosine


@pytest.mark.parametrize("current", [None, "queued", "failed"])
def test_unsearchable_documents_follow_jobs(current: DocumentStatus | None) -> None:
    assert after_queueing(current) == "queued"
    assert after_failure(current) == "failed"


@pytest.mark.parametrize("current", ["ready", "partial"])
def test_searchable_documents_stay_so(current: DocumentStatus) -> None:
    assert after_queueing(current) == current
    assert after_failure(current) == current


def test_bad_pages_make_partial() -> None:
    assert ready_status(()) == "ready"
    assert ready_status((4,)) == "partial"


def test_other_recipes_are_stale() -> None:
    assert is_stale("r1", "r2")
    assert not is_stale("r2", "r2")


def test_document_never_supersedes_itself() -> None:
    assert superseded("a", "a") is None
    assert superseded("a", None) is None
    assert superseded("a", "b") == "b"


def test_same_words_share_a_hash() -> None:
    said = NewTurn(role="user", text="The  Pump\nleaks")
    assert turn_hash(said) == turn_hash(NewTurn(role="user", text=" the pump leaks "))
    assert turn_hash(said) != turn_hash(NewTurn(role="assistant", text="the pump leaks"))
    assert turn_id("a", "s", "h") != turn_id("b", "s", "h")


def test_best_window_counts() -> None:
    assert best_windows([3, 3, 8], [0.2, -0.5, -0.1]) == {3: 0.2, 8: -0.1}
    assert cosine(1.0000001) == 1.0
    assert cosine(-2) == -1.0


def test_windows_are_dealt_to_texts() -> None:
    dealt = WindowVectors("m", np.eye(3, dtype=np.float32) * 4, (1, 0, 2)).per_text(3)
    assert [len(rows) for rows in dealt] == [1, 0, 2]
    assert np.allclose(np.linalg.norm(dealt[2], axis=1), 1)
    assert WindowVectors("m", np.empty((0, 3), np.float32), ()).per_text(0) == []


@pytest.mark.parametrize("counts", [(3,), (1, 1), (2, 2), (4, -1)])
def test_wrong_counts_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(VectorsRejected) as refused:
        WindowVectors("m", np.eye(3, dtype=np.float32), counts).per_text(2)
    assert refused.value.next_step


def test_zero_vector_stays_zero() -> None:
    assert not unit(np.zeros((1, 4))).any()


def test_flat_vectors_are_refused() -> None:
    with pytest.raises(MemoryServiceError, match="no matrix"):
        unit(np.zeros(4))
    with pytest.raises(VectorsRejected):
        check_query(np.zeros(3, np.float32), 4)
