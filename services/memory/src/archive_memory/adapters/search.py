"""Hybrid search: candidates by words and by vectors, both scores for all of them, one ranking."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from archive_contracts.memory import ChunkHit, MemoryItem
from archive_memory.adapters import ledger, turns
from archive_memory.adapters.catalogue import PASSAGE, passage_of, searchable_documents
from archive_memory.adapters.text import Kind, TextIndex
from archive_memory.adapters.vectors import Key, Shelf, cosines, find_model
from archive_memory.domain.fusion import ChunkWeights, TurnWeights, fuse_chunks, fuse_turns, ranked
from archive_memory.domain.query import terms
from archive_memory.domain.windows import QueryVector

_CANDIDATES = 50  # from each side at least; what neither side puts there is not in the answer

_HIT: Final = f"chunks.id, d.id, d.filename, d.format, d.title, d.chunks, d.created_at, {PASSAGE}"
# CROSS JOIN fixes the order: without statistics SQLite would rather walk through all of the tenant's rows.
_WANTED: Final = """
    FROM json_each(?) wanted CROSS JOIN chunks ON chunks.id = wanted.value
    CROSS JOIN documents d ON d.tenant = chunks.tenant AND d.id = chunks.document
    WHERE +chunks.tenant = ? AND +chunks.searchable = 1
"""
_CHUNKS_OF: Final = """
    SELECT id FROM chunks WHERE tenant = ? AND searchable = 1 AND document IN (SELECT value FROM json_each(?))
"""


class Search:
    """Questions to one state of the store. Everything is asked for one tenant."""

    def __init__(self, shelf: Shelf, chunk_weights: ChunkWeights, turn_weights: TurnWeights) -> None:
        self._shelf = shelf
        self._chunk_weights = chunk_weights
        self._turn_weights = turn_weights
        self._chunk_words = TextIndex("chunk")
        self._turn_words = TextIndex("turn")

    def chunks(
        self,
        connection: sqlite3.Connection,
        tenant_name: str,
        query: str,
        vector: QueryVector | None,
        *,
        top_k: int,
        document_ids: Sequence[str],
        formats: Sequence[str],
    ) -> list[ChunkHit]:
        """Return passages, best first."""
        tenant = ledger.find_tenant(connection, tenant_name)
        if tenant is None:
            return []
        chosen, _, rows = searchable_documents(connection, tenant, document_ids, formats)
        within = None if chosen is None else _chunks_of(connection, tenant, chosen)
        limit = max(_CANDIDATES, 3 * top_k)
        words = self._chunk_words.search(connection, tenant, terms(query), rows, limit, within)
        near = self._near(connection, tenant, "chunk", vector, limit, within)
        similar = {} if vector is None else cosines(connection, tenant, "chunk", {*words, *near}, vector)
        best = ranked(scores := fuse_chunks(words, similar, self._chunk_weights))[:top_k]
        found = connection.execute(f"SELECT {_HIT} {_WANTED}", (json.dumps(best), tenant))
        hits = {row[0]: _hit(row, scores[row[0]], similar.get(row[0], 0.0)) for row in found}
        return [hits[identity] for identity in best if identity in hits]

    def turns(
        self,
        connection: sqlite3.Connection,
        tenant_name: str,
        query: str,
        vector: QueryVector | None,
        *,
        top_k: int,
        session: str | None,
    ) -> list[MemoryItem]:
        """Return remembered turns, best first."""
        tenant = ledger.find_tenant(connection, tenant_name)
        if tenant is None:
            return []
        within = None if session is None else turns.of_session(connection, tenant, session)
        limit = max(_CANDIDATES, 3 * top_k)
        rows = turns.count(connection, tenant)
        words = self._turn_words.search(connection, tenant, terms(query), rows, limit, within)
        near = self._near(connection, tenant, "turn", vector, limit, within)
        places = turns.places(connection, tenant, {*words, *near})
        beside = {turn for place in places.values() for turn in place.neighbours} - places.keys()
        places |= turns.places(connection, tenant, beside)
        similar = {} if vector is None else cosines(connection, tenant, "turn", places, vector)
        best = ranked(fuse_turns(words, similar, places, self._turn_weights))[:top_k]
        found = turns.load(connection, tenant, best)
        return [found[turn].model_copy(update={"similarity": similar.get(turn)}) for turn in best if turn in found]

    def _near(
        self,
        connection: sqlite3.Connection,
        tenant: int,
        kind: Kind,
        vector: QueryVector | None,
        k: int,
        within: Sequence[int] | None,
    ) -> list[int]:
        model = None if vector is None else find_model(connection, vector.model)
        if vector is None or model is None:
            return []
        return self._shelf.nearest(connection, Key(tenant, kind, model.id), model.dim, vector, k, within)


def _chunks_of(connection: sqlite3.Connection, tenant: int, documents: Sequence[str]) -> list[int]:
    return [identity for (identity,) in connection.execute(_CHUNKS_OF, (tenant, json.dumps(list(documents))))]


def _hit(row: tuple[object, ...], score: float, similarity: float) -> ChunkHit:
    _, document_id, filename, form, title, total, created_at, *passage = row
    hit = {
        "chunk": passage_of(tuple(passage)),
        "document_id": document_id,
        "filename": filename,
        "format": form,
        "title": title,
        "total_chunks": total,
        "created_at": created_at,
        "score": score,
        "similarity": similarity,
    }
    return ChunkHit.model_validate(hit)
