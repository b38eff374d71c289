"""Conversations in SQLite: one file for all tenants, which several consoles of one machine may share."""

import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

import anyio
from pydantic import TypeAdapter

from archive_console.domain.conversations import Conversation, Heading, Turn, title_of
from archive_console.domain.ports import Change
from archive_contracts.agents import Source, Step
from archive_contracts.base import Problem
from archive_contracts.conversations import DeleteConversation, RecordAnswer, RecordQuestion, RenameConversation

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS conversations (
    tenant TEXT NOT NULL, id TEXT NOT NULL, title TEXT NOT NULL, created_at REAL NOT NULL, updated_at REAL NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS conversations_latest ON conversations (tenant, updated_at DESC);
CREATE TABLE IF NOT EXISTS turns (
    seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, id TEXT NOT NULL, conversation TEXT NOT NULL, mode TEXT NOT NULL,
    question TEXT NOT NULL, model TEXT NOT NULL, document_ids TEXT NOT NULL, remember INTEGER NOT NULL,
    asked_at REAL NOT NULL, status TEXT NOT NULL, answer TEXT NOT NULL, engine TEXT NOT NULL, sources TEXT NOT NULL,
    steps TEXT NOT NULL, error TEXT, ended_at REAL NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS turns_by_id ON turns (tenant, id);
CREATE INDEX IF NOT EXISTS turns_of_conversation ON turns (tenant, conversation, seq);
CREATE INDEX IF NOT EXISTS turns_running ON turns (status) WHERE status = 'running';
CREATE TABLE IF NOT EXISTS gone (tenant TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (tenant, id)) WITHOUT ROWID;
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (question, answer, tokenize='unicode61 remove_diacritics 2');
"""
_TURN: Final = """
    SELECT id, mode, question, model, document_ids, remember, asked_at, status, answer, engine, sources, steps, error,
           ended_at, tenant, conversation FROM turns
"""
_SOURCES = TypeAdapter(tuple[Source, ...])
_STEPS = TypeAdapter(tuple[Step, ...])


class ConversationStore:
    """Every change is one transaction, and doing it again changes nothing: the bus may deliver it twice.

    Deleted ids are kept, and nothing else of them: an answer that comes later must not bring a conversation back.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "conversations.db"
        self._limiter = anyio.CapacityLimiter(4)

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self._create)
        return self

    async def __aexit__(self, *exc: object) -> None:
        return

    def _create(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
        self._path.chmod(0o600)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10.0, isolation_level=None)
        # What is deleted is overwritten: the file must not hold what nobody can see any more.
        connection.execute("PRAGMA secure_delete = ON")
        return connection

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def job() -> T:
            with closing(self._connect()) as connection:
                return work(connection)

        return await anyio.to_thread.run_sync(job, limiter=self._limiter)

    async def apply(self, tenant: str, change: Change) -> bool:
        """Make a change; the same one again changes nothing. False: there is no such conversation any more."""

        def work(connection: sqlite3.Connection) -> bool:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                match change:
                    case RecordQuestion():
                        return _ask(connection, tenant, change)
                    case RecordAnswer():
                        return _answer(connection, tenant, change)
                    case RenameConversation():
                        return _rename(connection, tenant, change)
                    case DeleteConversation():
                        return _delete(connection, tenant, change.conversation_id)

        changed = await self._run(work)
        if isinstance(change, DeleteConversation):
            await self._run(_forget_log)
        return changed

    async def headings(self, tenant: str, *, words: str = "", limit: int = 50, offset: int = 0) -> list[Heading]:
        """Return conversations, the latest first; with ``words`` those that hold all of them."""
        words = words.replace("\0", "\ufffd").strip()
        if words:
            return await self._run(lambda connection: _search(connection, tenant, words, limit, offset))

        def work(connection: sqlite3.Connection) -> list[Heading]:
            sql = "SELECT id, title, updated_at FROM conversations WHERE tenant = ? ORDER BY updated_at DESC, id \
                   LIMIT ? OFFSET ?"
            rows = connection.execute(sql, (tenant, limit, offset)).fetchall()
            return [Heading(id=row[0], title=row[1], updated_at=row[2]) for row in rows]

        return await self._run(work)

    async def get(self, tenant: str, conversation_id: str) -> Conversation | None:
        """Return a conversation."""

        def work(connection: sqlite3.Connection) -> Conversation | None:
            sql = "SELECT title, created_at, updated_at FROM conversations WHERE tenant = ? AND id = ?"
            row = connection.execute(sql, (tenant, conversation_id)).fetchone()
            if row is None:
                return None
            turns = connection.execute(
                _TURN + "WHERE tenant = ? AND conversation = ? ORDER BY seq", (tenant, conversation_id)
            )
            return Conversation(
                id=conversation_id,
                title=row[0],
                created_at=row[1],
                updated_at=row[2],
                turns=tuple(_turn(found) for found in turns),
            )

        return await self._run(work)

    async def turn(self, tenant: str, turn_id: str) -> tuple[str, Turn] | None:
        """Return a turn and the id of its conversation."""

        def work(connection: sqlite3.Connection) -> tuple[str, Turn] | None:
            row = connection.execute(_TURN + "WHERE tenant = ? AND id = ?", (tenant, turn_id)).fetchone()
            return (row[15], _turn(row)) if row else None

        return await self._run(work)

    async def running(self) -> Sequence[tuple[str, str, Turn]]:
        """Return (tenant, conversation, turn) of all turns whose answer has not ended."""

        def work(connection: sqlite3.Connection) -> list[tuple[str, str, Turn]]:
            return [(row[14], row[15], _turn(row)) for row in connection.execute(_TURN + "WHERE status = 'running'")]

        return await self._run(work)


def _ask(connection: sqlite3.Connection, tenant: str, change: RecordQuestion) -> bool:
    conversation = change.conversation_id
    if connection.execute("SELECT 1 FROM gone WHERE tenant = ? AND id = ?", (tenant, conversation)).fetchone():
        return False
    if connection.execute("SELECT 1 FROM turns WHERE tenant = ? AND id = ?", (tenant, change.turn_id)).fetchone():
        return True
    at = change.asked_at
    connection.execute(
        "INSERT INTO conversations VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET updated_at = excluded.updated_at",
        (tenant, conversation, title_of(change.text), at, at),
    )
    if change.supersedes:
        _retitle(connection, tenant, change)
        _drop_from(connection, tenant, conversation, change.supersedes)
    added = connection.execute(
        "INSERT INTO turns VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', '', '', '[]', '[]', NULL, 0)",
        (
            *(tenant, change.turn_id, conversation, change.mode, change.text, change.model),
            *(json.dumps(change.document_ids), change.remember, at),
        ),
    )
    connection.execute("INSERT INTO words (rowid, question, answer) VALUES (?, ?, '')", (added.lastrowid, change.text))
    return True


def _retitle(connection: sqlite3.Connection, tenant: str, change: RecordQuestion) -> None:
    """Name a conversation after its new first question, unless somebody has given it another name."""
    sql = "SELECT id, question FROM turns WHERE tenant = ? AND conversation = ? ORDER BY seq LIMIT 1"
    first = connection.execute(sql, (tenant, change.conversation_id)).fetchone()
    if first and first[0] == change.supersedes:
        connection.execute(
            "UPDATE conversations SET title = ? WHERE tenant = ? AND id = ? AND title = ?",
            (title_of(change.text), tenant, change.conversation_id, title_of(first[1])),
        )


def _answer(connection: sqlite3.Connection, tenant: str, change: RecordAnswer) -> bool:
    stored = connection.execute(
        "UPDATE turns SET status = ?, answer = ?, engine = ?, sources = ?, steps = ?, error = ?, ended_at = ? \
         WHERE tenant = ? AND id = ? RETURNING seq",
        (
            *(change.status, change.text, change.engine),
            *(_SOURCES.dump_json(change.sources), _STEPS.dump_json(change.steps)),
            *(change.error.model_dump_json() if change.error else None, change.ended_at),
            *(tenant, change.turn_id),
        ),
    ).fetchone()
    if stored is None:
        return False
    connection.execute("UPDATE words SET answer = ? WHERE rowid = ?", (change.text, stored[0]))
    connection.execute(
        "UPDATE conversations SET updated_at = max(updated_at, ?) WHERE tenant = ? AND id = ?",
        (change.ended_at, tenant, change.conversation_id),
    )
    return True


def _rename(connection: sqlite3.Connection, tenant: str, change: RenameConversation) -> bool:
    sql = "UPDATE conversations SET title = ? WHERE tenant = ? AND id = ? RETURNING 1"
    return connection.execute(sql, (change.title, tenant, change.conversation_id)).fetchone() is not None


def _delete(connection: sqlite3.Connection, tenant: str, conversation: str) -> bool:
    connection.execute("INSERT INTO gone VALUES (?, ?) ON CONFLICT DO NOTHING", (tenant, conversation))
    sql = "DELETE FROM conversations WHERE tenant = ? AND id = ? RETURNING 1"
    existed = connection.execute(sql, (tenant, conversation)).fetchone() is not None
    _drop(connection, "tenant = ? AND conversation = ?", (tenant, conversation))
    return existed


def _drop_from(connection: sqlite3.Connection, tenant: str, conversation: str, turn_id: str) -> None:
    """Remove a turn that is asked anew, and what followed from it."""
    sql = "SELECT seq FROM turns WHERE tenant = ? AND conversation = ? AND id = ?"
    if row := connection.execute(sql, (tenant, conversation, turn_id)).fetchone():
        _drop(connection, "tenant = ? AND conversation = ? AND seq >= ?", (tenant, conversation, row[0]))


def _drop(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> None:
    sql = f"DELETE FROM turns WHERE {where} RETURNING seq"  # noqa: S608 - conditions of this module
    gone = connection.execute(sql, tuple(cast("Any", values))).fetchall()
    connection.executemany("DELETE FROM words WHERE rowid = ?", gone)


def _forget_log(connection: sqlite3.Connection) -> None:
    """Merge the index of words and empty the write-ahead log: both still hold what was deleted."""
    connection.execute("INSERT INTO words (words) VALUES ('optimize')")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _search(connection: sqlite3.Connection, tenant: str, words: str, limit: int, offset: int) -> list[Heading]:
    # In quotes nothing is an operator of the query language.
    phrase = " ".join(f'"{word}"' for word in words.replace('"', " ").split()[:16]) or '""'
    title = re.sub(r"([%_\\])", r"\\\1", words)
    # CROSS: words first. The planner would look each turn up in the index of words, thousands of times.
    sql = r"""
        SELECT id, title, updated_at FROM conversations
        WHERE tenant = ? AND (title LIKE ? ESCAPE '\' OR id IN (
            SELECT t.conversation FROM words CROSS JOIN turns t ON t.seq = words.rowid
            WHERE words MATCH ? AND t.tenant = ?))
        ORDER BY updated_at DESC, id LIMIT ? OFFSET ?
    """
    rows = connection.execute(sql, (tenant, f"%{title}%", phrase, tenant, limit, offset)).fetchall()
    excerpts = _excerpts(connection, tenant, phrase, [row[0] for row in rows])
    return [Heading(id=row[0], title=row[1], updated_at=row[2], excerpt=excerpts.get(row[0], "")) for row in rows]


def _excerpts(connection: sqlite3.Connection, tenant: str, phrase: str, found: Sequence[str]) -> dict[str, str]:
    """Return words around the first hit of each conversation: one search for all, then a seek for each."""
    sql = """
        SELECT t.conversation, min(t.seq) FROM words CROSS JOIN turns t ON t.seq = words.rowid
        WHERE words MATCH ? AND t.tenant = ? AND t.conversation IN (SELECT value FROM json_each(?))
        GROUP BY t.conversation
    """
    hits = connection.execute(sql, (phrase, tenant, json.dumps(found))).fetchall()
    sql = "SELECT snippet(words, -1, '', '', '…', 12) FROM words WHERE words MATCH ? AND rowid = ?"
    # What was deleted this very moment has no words any more.
    told = ((conversation, connection.execute(sql, (phrase, seq)).fetchone()) for conversation, seq in hits)
    return {conversation: row[0] for conversation, row in told if row}


def _turn(row: tuple[Any, ...]) -> Turn:
    return Turn(
        id=row[0],
        mode=row[1],
        question=row[2],
        model=row[3],
        document_ids=tuple(json.loads(row[4])),
        remember=bool(row[5]),
        asked_at=row[6],
        status=row[7],
        answer=row[8],
        engine=row[9],
        sources=_SOURCES.validate_json(row[10]),
        steps=_STEPS.validate_json(row[11]),
        error=Problem.model_validate_json(row[12]) if row[12] else None,
        ended_at=row[13],
    )
