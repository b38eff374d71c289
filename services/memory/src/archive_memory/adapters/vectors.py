"""Vectors in the store, and the indexes that are built from them when somebody first asks.

There is an index for each tenant, kind and model, so that a search scans only vectors it may return and vectors of
different models never meet. Building one takes about half a second for 100,000 vectors; until then it costs no memory.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from archive_memory.adapters.connections import Readers
from archive_memory.adapters.exact import ExactIndex
from archive_memory.adapters.text import Kind
from archive_memory.domain.errors import SnapshotCorrupt, VectorsRejected
from archive_memory.domain.index import Ids, Matrix, Neighbours, VectorIndex, check_query, unit
from archive_memory.domain.windows import QueryVector, best_windows, cosine

Backend = Literal["exact", "hnsw"]

_PAGE = 8192  # vectors read at a time while an index is built
_LOAD: Final[dict[Kind, str]] = {
    "chunk": """
        SELECT v.id, v.vector FROM vectors v JOIN chunks c ON c.id = v.owner
        WHERE v.tenant = ? AND v.kind = ? AND v.model = ? AND c.searchable
    """,
    "turn": "SELECT id, vector FROM vectors WHERE tenant = ? AND kind = ? AND model = ?",
}
_BY_ID: Final = "SELECT id, vector FROM vectors WHERE id IN (SELECT value FROM json_each(?))"
_BY_OWNER: Final = """
    SELECT owner, vector FROM vectors
    WHERE kind = ? AND model = ? AND tenant = ? AND owner IN (SELECT value FROM json_each(?))
"""
_OWNERS: Final = "SELECT DISTINCT owner FROM vectors WHERE id IN (SELECT value FROM json_each(?))"
_IDS_OF_OWNERS: Final = "SELECT id FROM vectors WHERE kind = ? AND owner IN (SELECT value FROM json_each(?))"


class Key(NamedTuple):
    """Which index."""

    tenant: int
    kind: Kind
    model: int


class Model(NamedTuple):
    """An embedding model as the store knows it."""

    id: int
    dim: int


def find_model(connection: sqlite3.Connection, name: str) -> Model | None:
    """Return a model that has left vectors here."""
    row = connection.execute("SELECT id, dim FROM models WHERE name = ?", (name,)).fetchone()
    return Model(*row) if row else None


def keep_model(connection: sqlite3.Connection, name: str, dim: int) -> Model:
    """Return the model, new or known; VectorsRejected when it made vectors of another length before."""
    known = find_model(connection, name)
    if known is None:
        cursor = connection.execute("INSERT INTO models (name, dim) VALUES (?, ?)", (name, dim))
        return Model(int(cursor.lastrowid or 0), dim)
    if known.dim != dim:
        raise VectorsRejected(
            f"Model {name} gave vectors of {dim} values; those stored have {known.dim}.",
            next_step="Give the changed model a name of its own, and embed again.",
        )
    return known


def insert_vectors(connection: sqlite3.Connection, key: Key, owner: int, vectors: Matrix) -> list[int]:
    """Store the windows of a text, shape (windows, dim), at half precision; return their ids."""
    sql = "INSERT INTO vectors (tenant, kind, model, owner, window, vector) VALUES (?, ?, ?, ?, ?, ?)"
    rows = vectors.astype("<f2")
    return [
        int(connection.execute(sql, (*key, owner, window, row.tobytes())).lastrowid or 0)
        for window, row in enumerate(rows)
    ]


def delete_vectors(connection: sqlite3.Connection, kind: Kind, owners: Sequence[int]) -> dict[int, list[int]]:
    """Remove the vectors of these texts; return their ids by model."""
    gone: dict[int, list[int]] = {}
    sql = "DELETE FROM vectors WHERE kind = ? AND owner IN (SELECT value FROM json_each(?)) RETURNING model, id"
    for model, identity in connection.execute(sql, (kind, json.dumps(list(owners)))).fetchall():
        gone.setdefault(model, []).append(identity)
    return gone


def vectors_of(connection: sqlite3.Connection, kind: Kind, owners: Sequence[int]) -> dict[int, tuple[Ids, Matrix]]:
    """Return ids and vectors of these texts by model."""
    found: dict[int, list[tuple[int, bytes]]] = {}
    sql = "SELECT model, id, vector FROM vectors WHERE kind = ? AND owner IN (SELECT value FROM json_each(?))"
    for model, identity, blob in connection.execute(sql, (kind, json.dumps(list(owners)))):
        found.setdefault(model, []).append((identity, blob))
    return {model: _decode(rows) for model, rows in found.items()}


def cosines(
    connection: sqlite3.Connection, tenant: int, kind: Kind, owners: Iterable[int], query: QueryVector
) -> dict[int, float]:
    """Return the cosine of the query and each text's best window; texts without vectors of its model are absent."""
    model = find_model(connection, query.model)
    wanted = json.dumps(list(owners))
    if model is None:
        return {}
    rows = connection.execute(_BY_OWNER, (kind, model.id, tenant, wanted)).fetchall()
    if not rows:
        return {}
    owned, vectors = _decode(rows)
    scores = vectors @ unit(check_query(query.values, model.dim)[None])[0]
    return {owner: cosine(score) for owner, score in best_windows(owned.tolist(), scores.tolist()).items()}


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.index: VectorIndex | None = None


class Shelf:
    """The indexes of a partition."""

    def __init__(self, readers: Readers, path: Path, backend: Backend) -> None:
        self._readers = readers
        self._path = path
        self._backend: Backend = backend
        self._lock = threading.Lock()
        self._slots: dict[Key, _Slot] = {}

    def nearest(
        self,
        connection: sqlite3.Connection,
        key: Key,
        dim: int,
        query: QueryVector,
        k: int,
        within: Sequence[int] | None,
    ) -> list[int]:
        """Return the texts that own the ``k`` nearest vectors; of ``within`` only, when given."""
        allow = (
            None if within is None else _ids(connection.execute(_IDS_OF_OWNERS, (key.kind, json.dumps(list(within)))))
        )
        found: Neighbours = self._index(key, dim).search(query.values, k, allow)
        return [owner for (owner,) in connection.execute(_OWNERS, (json.dumps(found.ids.tolist()),))]

    def add(self, key: Key, ids: Ids, vectors: Matrix) -> None:
        """Show an index what was committed; one that is not built yet will read it."""
        slot = self._slot(key)
        with slot.lock:
            if slot.index is None:
                return
            try:
                slot.index.add(ids, vectors)
            except (VectorsRejected, RuntimeError, MemoryError):
                # The rows are stored; an index that cannot take them is built again from them.
                slot.index = None

    def remove(self, key: Key, ids: Sequence[int]) -> None:
        """Take committed removals out of an index."""
        slot = self._slot(key)
        with slot.lock:
            if slot.index is not None:
                try:
                    slot.index.remove(np.array(ids, np.int64))
                except (RuntimeError, MemoryError):
                    slot.index = None

    def close(self) -> None:
        """Keep snapshots of the indexes that are costly to build, and drop all."""
        with self._lock:
            slots, self._slots = self._slots, {}
        for key, slot in slots.items():
            with slot.lock:
                if self._backend == "hnsw" and slot.index is not None:
                    slot.index.snapshot(self._snapshot(key))
                slot.index = None

    def _slot(self, key: Key) -> _Slot:
        with self._lock:
            return self._slots.setdefault(key, _Slot())

    def _index(self, key: Key, dim: int) -> VectorIndex:
        slot = self._slot(key)
        with slot.lock:
            if slot.index is None:
                slot.index = self._build(key, dim)
            return slot.index

    def _build(self, key: Key, dim: int) -> VectorIndex:
        """Build an index from the rows.

        The rows are read through a connection of their own, begun under the slot's lock: the caller's may be older
        than a commit that found no index to tell.
        """
        index = self._empty(key, dim)
        known = set(index.ids().tolist())
        with self._readers.lend() as connection:
            rows = connection.execute(_LOAD[key.kind], key)
            while page := rows.fetchmany(_PAGE):
                missing = [row for row in page if row[0] not in known]
                known.difference_update(row[0] for row in page)
                if missing:
                    index.add(*_decode(missing))
        index.remove(np.fromiter(known, np.int64, len(known)))
        return index

    def _empty(self, key: Key, dim: int) -> VectorIndex:
        if self._backend == "exact":
            return ExactIndex(dim, self._fetch)
        # Only who chose it pays for its import.
        from archive_memory.adapters.hnsw import HnswIndex

        index = HnswIndex(dim)
        with suppress(SnapshotCorrupt):
            index.load(self._snapshot(key))
        return index

    def _snapshot(self, key: Key) -> Path:
        return self._path.with_name(f"{self._path.name}.{key.tenant}-{key.kind}-{key.model}.hnsw")

    def _fetch(self, ids: Ids) -> tuple[Ids, Matrix]:
        with self._readers.lend() as connection:
            rows = connection.execute(_BY_ID, (json.dumps(ids.tolist()),)).fetchall()
        return _decode(rows)


def _ids(rows: Iterable[tuple[int]]) -> Ids:
    return np.fromiter((identity for (identity,) in rows), np.int64)


def _decode(rows: Sequence[tuple[int, bytes]]) -> tuple[Ids, Matrix]:
    """Return numbers of shape (n,) and vectors of shape (n, dim) of rows."""
    numbers = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    values = np.frombuffer(b"".join(row[1] for row in rows), "<f2").astype(np.float32)
    return numbers, values.reshape(len(rows), -1) if len(rows) else np.empty((0, 0), np.float32)
