"""An exact index: every code is compared, so filters and removals cost nothing and no neighbour is missed.

Vectors are kept as int8 codes, a quarter of float32, and scanned with NumKong's integer kernels, which release the
interpreter; the best candidates are scored again with the vectors themselves, read from the store.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# NumKong's stubs leave its tensors untyped.

from __future__ import annotations

from pathlib import Path

import numkong
import numpy as np
import numpy.typing as npt

from archive_memory.adapters.rwlock import ReadWriteLock
from archive_memory.adapters.snapshot import check_sealed, write_sealed
from archive_memory.domain.errors import SnapshotCorrupt
from archive_memory.domain.index import (
    Ids,
    IndexStats,
    Matrix,
    Neighbours,
    VectorSource,
    check_query,
    check_shapes,
    unit,
)

_RESCORED = 50  # candidates that are scored again at least; rounding to 8 bits moves a neighbour by a few places only
_FIRST_CAPACITY = 64
_BLOCK = 64  # scores looked at as one when the best are picked
_ENTRY_BYTES = 100  # of a Python dict entry with its two integers, measured

Codes = npt.NDArray[np.int8]


class ExactIndex:
    """A `VectorIndex` by full scan: about 2 ms for 100,000 vectors of 384, recall 1."""

    def __init__(self, dim: int, source: VectorSource) -> None:
        self._dim = dim
        self._source = source
        self._lock = ReadWriteLock()
        self._rows: dict[int, int] = {}
        self._allocate(_FIRST_CAPACITY)

    def add(self, ids: Ids, vectors: Matrix) -> None:
        """Insert vectors under new ids; see `VectorIndex.add`."""
        check_shapes(ids, vectors, self._dim)
        codes, scales = encode(unit(vectors))
        with self._lock.writing():
            new = self._unknown(ids)
            start = len(self._rows)
            end = start + len(new)
            self._reserve(end)
            self._ids[start:end] = ids[new]
            self._codes[start:end] = codes[new]
            self._scales[start:end] = scales[new]
            self._rows.update(zip(ids[new].tolist(), range(start, end), strict=True))

    def remove(self, ids: Ids) -> None:
        """Forget ids; the last row moves into each gap."""
        with self._lock.writing():
            for removed in ids.tolist():
                row = self._rows.pop(removed, None)
                last = len(self._rows)
                if row is None or row == last:
                    continue
                self._ids[row] = self._ids[last]
                self._codes[row] = self._codes[last]
                self._scales[row] = self._scales[last]
                self._rows[int(self._ids[row])] = row

    def search(self, q: Matrix, k: int, allow: Ids | None = None) -> Neighbours:
        """Return the nearest by their true cosines; see `VectorIndex.search`."""
        query = unit(check_query(q, self._dim)[None])
        candidates = self._scan(query, max(_RESCORED, 3 * k), allow)
        found, vectors = self._source(candidates)
        if not len(found):
            return Neighbours(np.empty(0, np.int64), np.empty(0, np.float32))
        scores = vectors @ query[0]
        best = np.lexsort((found, -scores))[:k]
        return Neighbours(found[best], scores[best])

    def ids(self) -> Ids:
        """Return the ids that can be found."""
        with self._lock.reading():
            return self._ids[: len(self._rows)].copy()

    def snapshot(self, path: Path) -> None:
        """Write ids, codes and scales; see `VectorIndex.snapshot`."""
        with self._lock.reading():
            count = len(self._rows)
            parts = self._ids[:count], self._codes[:count], self._scales[:count]
            write_sealed(path, lambda part: _save(part, parts))

    def load(self, path: Path) -> None:
        """Replace the content; see `VectorIndex.load`."""
        length = check_sealed(path)
        entry = 8 + 4 + self._dim
        header, count = path.open("rb"), length // entry
        with header:
            if length != count * entry + 8 or header.read(8) != self._dim.to_bytes(8, "little"):
                raise SnapshotCorrupt(
                    f"The index snapshot {path.name} is not of vectors of {self._dim}.",
                    next_step="Delete the file; the index is built again from the store.",
                )
            ids = np.frombuffer(header.read(8 * count), np.int64)
            codes = np.frombuffer(header.read(self._dim * count), np.int8).reshape(count, self._dim)
            scales = np.frombuffer(header.read(4 * count), np.float32)
        with self._lock.writing():
            self._rows = {identity: row for row, identity in enumerate(ids.tolist())}
            self._allocate(max(_FIRST_CAPACITY, count))
            self._ids[:count], self._codes[:count], self._scales[:count] = ids, codes, scales

    def stats(self) -> IndexStats:
        """Return sizes."""
        with self._lock.reading():
            count = len(self._rows)
            arrays = self._ids.nbytes + self._codes.nbytes + self._scales.nbytes
            return IndexStats("exact", count, self._dim, 0, arrays + _ENTRY_BYTES * count)

    def _scan(self, query: Matrix, k: int, allow: Ids | None) -> Ids:
        """Return the ids of the ``k`` best rows by their codes."""
        codes, _ = encode(query)
        packed = numkong.dots_pack(codes)
        with self._lock.reading():
            count = len(self._rows)
            if allow is not None:
                rows = np.fromiter((self._rows[i] for i in allow.tolist() if i in self._rows), np.int64)
                stored, scales, ids = self._codes[rows], self._scales[rows], self._ids[rows]
            else:
                stored, scales, ids = self._codes[:count], self._scales[:count], self._ids[:count]
            if not len(ids):
                return np.empty(0, np.int64)
            scores = np.asarray(numkong.dots_packed(stored, packed))[:, 0].astype(np.float32) * scales
            return ids[best_rows(scores, k)]

    def _unknown(self, ids: Ids) -> Ids:
        """Return the positions of the ids that are not there, each id once."""
        fresh: dict[int, int] = {}
        for position, identity in enumerate(ids.tolist()):
            if identity not in self._rows:
                fresh.setdefault(identity, position)
        return np.fromiter(fresh.values(), np.int64, len(fresh))

    def _allocate(self, capacity: int) -> None:
        self._ids = np.empty(capacity, np.int64)
        self._codes = np.empty((capacity, self._dim), np.int8)
        self._scales = np.empty(capacity, np.float32)

    def _reserve(self, rows: int) -> None:
        """Make room by doubling, so that growing costs a constant share of adding."""
        capacity = len(self._ids)
        if rows <= capacity:
            return
        while capacity < rows:
            capacity *= 2
        old, count = (self._ids, self._codes, self._scales), len(self._rows)
        self._allocate(capacity)
        for target, values in zip((self._ids, self._codes, self._scales), old, strict=True):
            target[:count] = values[:count]


def encode(vectors: Matrix) -> tuple[Codes, Matrix]:
    """Return int8 codes of shape (n, dim) and for each row what one step of its codes is worth."""
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    steps = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(127)
    return np.rint(vectors / steps[:, None]).astype(np.int8), steps


def best_rows(scores: Matrix, k: int) -> Ids:
    """Return the rows of the ``k`` best scores, in no order.

    The k-th best of the blocks' maxima bounds the k-th best score from below, which leaves few rows to partition;
    partitioning all would take half as long as the scan.
    """
    if len(scores) > k * _BLOCK:
        maxima = np.maximum.reduceat(scores, np.arange(0, len(scores), _BLOCK))
        rows = np.flatnonzero(scores >= np.partition(maxima, -k)[-k])
    else:
        rows = np.arange(len(scores))
    return rows[np.argpartition(scores[rows], -k)[-k:]] if len(rows) > k else rows


def _save(part: Path, parts: tuple[Ids, Codes, Matrix]) -> None:
    ids, codes, scales = parts
    with part.open("wb") as file:
        file.write(codes.shape[1].to_bytes(8, "little"))
        file.write(ids.tobytes())
        file.write(codes.tobytes())
        file.write(scales.tobytes())
