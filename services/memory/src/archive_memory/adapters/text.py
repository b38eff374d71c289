"""Full-text search of chunks or turns: words by BM25, unsegmented scripts by trigrams."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from archive_memory.domain.fusion import fuse
from archive_memory.domain.query import (
    Terms,
    common_above,
    informative,
    is_unsegmented,
    match_all,
    match_any,
    scope_of,
)

Kind = Literal["chunk", "turn"]

_INSERT: Final = "INSERT INTO KIND_TABLE (rowid, scope, body) VALUES (?, ?, ?)"
_DELETE: Final = "INSERT INTO KIND_TABLE (KIND_TABLE, rowid, scope, body) VALUES ('delete', ?, ?, ?)"
_COUNT: Final = "SELECT count(*) FROM (SELECT 1 FROM KIND_TABLE WHERE KIND_TABLE MATCH ? LIMIT ?)"
# The scope's column weighs nothing: a tenant's name must not be worth a score.
_RANK: Final = """
    SELECT rowid, -bm25(KIND_TABLE, 0.0, 1.0) AS score FROM KIND_TABLE
    WHERE KIND_TABLE MATCH ? ORDER BY score DESC, rowid LIMIT ?
"""
# The plus keeps SQLite from asking the full-text table once for every allowed row.
_RANK_WITHIN: Final = _RANK.replace("ORDER BY", "AND +rowid IN (SELECT value FROM json_each(?)) ORDER BY")
_SHORT: Final[dict[Kind, str]] = {
    "chunk": "SELECT id FROM chunks WHERE tenant = ? AND unsegmented = 1 AND searchable = 1 AND instr(text, ?) LIMIT ?",
    "turn": "SELECT id FROM turns WHERE tenant = ? AND unsegmented = 1 AND instr(text, ?) LIMIT ?",
}


def body_of(text: str, section: Sequence[str] = ()) -> str:
    """Return what is indexed of a passage: the headings above it are often the only place that names its subject."""
    return "\n".join((*section, text))


class TextIndex:
    """The full-text tables of one kind of text.

    All tenants share them; each row holds its tenant's token and each query asks for it, so that other tenants' rows
    are no part of any result. Word statistics are those of the partition.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind: Kind = kind
        self._words = f"{kind}_words"
        self._grams = f"{kind}_grams"

    def insert(self, connection: sqlite3.Connection, tenant: int, rows: Iterable[tuple[int, str]]) -> None:
        """Make rows of (id, body) findable."""
        self._change(connection, _INSERT, tenant, rows)

    def delete(self, connection: sqlite3.Connection, tenant: int, rows: Iterable[tuple[int, str]]) -> None:
        """Make rows unfindable; (id, body) must be what was inserted."""
        self._change(connection, _DELETE, tenant, rows)

    def search(
        self,
        connection: sqlite3.Connection,
        tenant: int,
        wanted: Terms,
        rows: int,
        limit: int,
        within: Sequence[int] | None,
    ) -> dict[int, float]:
        """Return scores in (0, ...] of at most about ``limit`` rows; of ``within`` only, when given."""
        found: list[dict[int, float]] = []
        for table, parts in ((self._words, wanted.words), (self._grams, wanted.grams)):
            if parts:
                rank = _ranker(connection, table, limit, within)
                found.append(
                    _cascade(rank, scope_of(tenant), _frequencies(connection, table, tenant, parts, rows), rows, limit)
                )
        if wanted.short_runs and not wanted.grams:
            found.append(self._short(connection, tenant, wanted.short_runs, limit, within))
        found = [scores for scores in found if scores]
        if len(found) < 2:
            return found[0] if found else {}
        return fuse((1.0, scores) for scores in found)

    def _change(self, connection: sqlite3.Connection, sql: str, tenant: int, rows: Iterable[tuple[int, str]]) -> None:
        scope = scope_of(tenant)
        values = [(identity, scope, body) for identity, body in rows]
        connection.executemany(_for(sql, self._words), values)
        connection.executemany(_for(sql, self._grams), [value for value in values if is_unsegmented(value[2])])

    def _short(
        self, connection: sqlite3.Connection, tenant: int, runs: Sequence[str], limit: int, within: Sequence[int] | None
    ) -> dict[int, float]:
        """Return how many of the runs a row holds; a run of one or two signs has no trigram, so rows are read."""
        allowed = None if within is None else set(within)
        scores: dict[int, float] = {}
        for run in runs:
            for (identity,) in connection.execute(_SHORT[self._kind], (tenant, run, limit if allowed is None else -1)):
                if allowed is None or identity in allowed:
                    scores[identity] = scores.get(identity, 0.0) + 1.0
        return scores


def _for(sql: str, table: str) -> str:
    return sql.replace("KIND_TABLE", table)


def _frequencies(
    connection: sqlite3.Connection, table: str, tenant: int, wanted: Iterable[str], rows: int
) -> dict[str, int]:
    """Return in how many of the tenant's rows each term is, counted no further than to know that it is common."""
    enough = common_above(rows) + 1
    sql = _for(_COUNT, table)
    scope = scope_of(tenant)
    return {term: connection.execute(sql, (match_all(scope, (term,)), enough)).fetchone()[0] for term in wanted}


Rank = Callable[[str], dict[int, float]]


def _ranker(connection: sqlite3.Connection, table: str, limit: int, within: Sequence[int] | None) -> Rank:
    if within is None:
        return lambda match: dict(connection.execute(_for(_RANK, table), (match, limit)).fetchall())
    allowed = json.dumps(list(within))
    return lambda match: dict(connection.execute(_for(_RANK_WITHIN, table), (match, allowed, limit)).fetchall())


def _cascade(rank: Rank, scope: str, frequencies: dict[str, int], rows: int, limit: int) -> dict[int, float]:
    """Ask for all terms first, and for any of them when that is not enough."""
    chosen = informative(frequencies, rows)
    if not chosen:
        return {}
    found = rank(match_all(scope, chosen))
    if len(chosen) > 1 and len(found) < limit:
        for identity, score in rank(match_any(scope, chosen)).items():
            found[identity] = max(score, found.get(identity, 0.0))
    return found
