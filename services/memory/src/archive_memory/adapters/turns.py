"""Chat turns: every change to them, as SQL inside somebody's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from archive_contracts.memory import MemoryItem
from archive_memory.adapters.change import Change
from archive_memory.adapters.text import TextIndex, body_of
from archive_memory.adapters.vectors import Key, Model, insert_vectors
from archive_memory.domain.catalogue import NewTurn, turn_hash, turn_id
from archive_memory.domain.fusion import TurnPlace
from archive_memory.domain.index import Matrix
from archive_memory.domain.query import is_unsegmented

_INSERT: Final = """
    INSERT INTO turns (tenant, turn_id, session, hash, role, created_at, unsegmented, message_id, text)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id
"""
_ITEM: Final = "SELECT turn_id, text, role, session, created_at FROM turns WHERE tenant = ? "
# The plus keeps SQLite from walking through all of the tenant's turns for a few of them.
_PLACES: Final = """
    SELECT t.id, t.session,
        (SELECT max(p.id) FROM turns p WHERE p.tenant = t.tenant AND p.session = t.session AND p.id < t.id),
        (SELECT min(n.id) FROM turns n WHERE n.tenant = t.tenant AND n.session = t.session AND n.id > t.id)
    FROM turns t WHERE +t.tenant = ? AND t.id IN (SELECT value FROM json_each(?))
"""
_words: Final = TextIndex("turn")

Embedding = tuple[Model, Sequence[Matrix]]


def remember(
    change: Change, tenant: str, message_id: str, turns: Sequence[NewTurn], embedding: Embedding | None
) -> None:
    """Store the turns that their sessions do not hold yet."""
    for number, turn in enumerate(turns):
        digest = turn_hash(turn)
        row = (
            *(change.tenant, turn_id(tenant, turn.session, digest), turn.session, digest, turn.role),
            *(turn.created_at or change.at, is_unsegmented(turn.text), message_id, turn.text),
        )
        stored = change.connection.execute(_INSERT, row).fetchone()
        if stored is None:
            continue
        (identity,) = stored
        _words.insert(change.connection, change.tenant, [(identity, body_of(turn.text))])
        if embedding is not None:
            model, vectors = embedding
            insert_vectors(change.connection, Key(change.tenant, "turn", model.id), identity, vectors[number])
            change.show("turn", [identity])


def of_message(connection: sqlite3.Connection, tenant: int, message_id: str) -> list[MemoryItem]:
    """Return the turns that a message stored."""
    rows = connection.execute(_ITEM + "AND message_id = ? ORDER BY id", (tenant, message_id))
    return [_item(row) for row in rows]


def find(connection: sqlite3.Connection, tenant: int, memory_id: str) -> MemoryItem | None:
    """Return a turn."""
    row = connection.execute(_ITEM + "AND turn_id = ?", (tenant, memory_id)).fetchone()
    return _item(row) if row else None


def page(connection: sqlite3.Connection, tenant: int, limit: int, offset: int) -> tuple[list[MemoryItem], int]:
    """Return turns, newest first, and how many there are."""
    sql = _ITEM + "ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?"
    rows = connection.execute(sql, (tenant, limit, offset)).fetchall()
    return [_item(row) for row in rows], count(connection, tenant)


def count(connection: sqlite3.Connection, tenant: int) -> int:
    """Return how many turns a tenant has."""
    return connection.execute("SELECT count(*) FROM turns WHERE tenant = ?", (tenant,)).fetchone()[0]


def forget(change: Change, memory_id: str) -> bool:
    """Remove a turn; return whether there was one."""
    sql = "DELETE FROM turns WHERE tenant = ? AND turn_id = ? RETURNING id, text"
    gone = change.connection.execute(sql, (change.tenant, memory_id)).fetchone()
    if gone is None:
        return False
    _words.delete(change.connection, change.tenant, [(gone[0], body_of(gone[1]))])
    change.hide("turn", [gone[0]])
    return True


def forget_session(change: Change, session: str) -> bool:
    """Remove all turns of a session; return whether it had any."""
    sql = "DELETE FROM turns WHERE tenant = ? AND session = ? RETURNING id, text"
    gone = change.connection.execute(sql, (change.tenant, session)).fetchall()
    _words.delete(change.connection, change.tenant, [(identity, body_of(text)) for identity, text in gone])
    change.hide("turn", [identity for identity, _ in gone])
    return bool(gone)


def of_session(connection: sqlite3.Connection, tenant: int, session: str) -> list[int]:
    """Return the row numbers of a session's turns."""
    sql = "SELECT id FROM turns WHERE tenant = ? AND session = ?"
    return [identity for (identity,) in connection.execute(sql, (tenant, session))]


def places(connection: sqlite3.Connection, tenant: int, turns: Iterable[int]) -> dict[int, TurnPlace]:
    """Return where turns stand in their sessions."""
    rows = connection.execute(_PLACES, (tenant, json.dumps(list(turns))))
    return {identity: TurnPlace(session, before, after) for identity, session, before, after in rows}


def load(connection: sqlite3.Connection, tenant: int, turns: Sequence[int]) -> dict[int, MemoryItem]:
    """Return turns by their row numbers."""
    sql = "SELECT id, turn_id, text, role, session, created_at FROM turns \
           WHERE +tenant = ? AND id IN (SELECT value FROM json_each(?))"
    rows = connection.execute(sql, (tenant, json.dumps(list(turns))))
    return {row[0]: _item(row[1:]) for row in rows}


def _item(row: tuple[str, str, str, str, float]) -> MemoryItem:
    identity, text, role, session, created_at = row
    return MemoryItem(id=identity, text=text, role=role, session=session, created_at=created_at)
