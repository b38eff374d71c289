"""What every vector index promises, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from archive_memory.domain.errors import VectorsRejected

Ids = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]


class Neighbours(NamedTuple):
    """The nearest vectors, best first: ids of shape (m,) and their cosines of shape (m,), m <= k."""

    ids: Ids
    scores: Matrix


@dataclass(frozen=True, slots=True)
class IndexStats:
    """How much an index holds and costs."""

    backend: str
    vectors: int
    dim: int
    tombstones: int
    memory_bytes: int


# Where an index that keeps only codes finds the vectors themselves: ids of shape (m,) in, the ids that still exist and
# their unit vectors of shape (n, dim) out, n <= m, in any order.
VectorSource = Callable[[Ids], tuple[Ids, Matrix]]


class VectorIndex(Protocol):
    """Unit vectors by id, searched by cosine. Safe to search from many threads while one thread changes it.

    An index is a cache of the store and never the truth. An id stands for one vector for ever: it is not used again
    after its removal.
    """

    def add(self, ids: Ids, vectors: Matrix) -> None:
        """Insert vectors of shape (n, dim) under ids of shape (n,); ids that are there already are left alone.

        Raises:
            VectorsRejected: the shapes do not fit, or an id was removed before.
        """
        ...

    def remove(self, ids: Ids) -> None:
        """Forget these ids; unknown ones are ignored."""
        ...

    def search(self, q: Matrix, k: int, allow: Ids | None = None) -> Neighbours:
        """Return the at most ``k`` nearest of a query of shape (dim,), only among ``allow`` when given.

        Raises:
            VectorsRejected: the query has another dimension.
        """
        ...

    def ids(self) -> Ids:
        """Return the ids that can be found, in no order."""
        ...

    def snapshot(self, path: Path) -> None:
        """Write a checksummed copy that replaces ``path`` in one step."""
        ...

    def load(self, path: Path) -> None:
        """Replace the content with a snapshot's.

        Raises:
            SnapshotCorrupt: the file is damaged, cut short, or of another kind or dimension.
        """
        ...

    def stats(self) -> IndexStats:
        """Return sizes."""
        ...


def unit(vectors: npt.ArrayLike) -> Matrix:
    """Return vectors of shape (n, dim) scaled to length 1; a zero vector stays zero.

    Raises:
        VectorsRejected: a value is not finite, or the array is not a matrix.
    """
    matrix = np.ascontiguousarray(vectors, dtype=np.float32)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise VectorsRejected(
            f"Vectors of shape {matrix.shape} hold values that are no numbers, or are no matrix.",
            next_step="Check the embedding engine: it must return finite vectors of one dimension.",
        )
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return (matrix / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)


def check_shapes(ids: Ids, vectors: Matrix, dim: int) -> None:
    """Raise VectorsRejected unless there is one vector of ``dim`` values for every id."""
    if vectors.shape != (len(ids), dim):
        raise VectorsRejected(
            f"{len(ids)} ids came with vectors of shape {vectors.shape}; the index holds vectors of {dim}.",
            next_step="Embed again with the model this index belongs to.",
        )


def check_query(q: Matrix, dim: int) -> Matrix:
    """Return the query as a contiguous vector of ``dim`` values, or raise VectorsRejected."""
    vector = np.ascontiguousarray(q, dtype=np.float32).reshape(-1)
    if vector.shape != (dim,):
        raise VectorsRejected(
            f"The query has {vector.size} values; the index holds vectors of {dim}.",
            next_step="Embed the query with the model this index belongs to.",
        )
    return vector
