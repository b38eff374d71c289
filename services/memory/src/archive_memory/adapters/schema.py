"""The tables of a partition, and how a file of an older release becomes one of this.

Everything carries its tenant. Full-text tables hold no text of their own (``content=''``): what they were told to
insert must be repeated to delete it, so both sides build it with `text.body_of`. Ids of vectors are AUTOINCREMENT
because an index may never see one twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from archive_memory.domain.errors import StoreCorrupt, StoreVersion

APPLICATION_ID: Final = 0x41524D45  # "ARME", so that a stranger's database is not taken for a partition

_FIRST: Final = """
CREATE TABLE tenants (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE models (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, dim INTEGER NOT NULL);

CREATE TABLE documents (
    tenant INTEGER NOT NULL, id TEXT NOT NULL, status TEXT NOT NULL, created_at REAL NOT NULL,
    filename TEXT NOT NULL, format TEXT NOT NULL, title TEXT NOT NULL, size INTEGER NOT NULL,
    pages INTEGER NOT NULL, chunks INTEGER NOT NULL, vectors INTEGER NOT NULL, stored_bytes INTEGER NOT NULL,
    bad_pages TEXT NOT NULL, job_id TEXT NOT NULL, blob TEXT NOT NULL, error TEXT,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX documents_newest ON documents (tenant, created_at DESC, id);

CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL, document TEXT NOT NULL, chunk_id TEXT NOT NULL,
    recipe TEXT NOT NULL, job_id TEXT NOT NULL, searchable INTEGER NOT NULL, unsegmented INTEGER NOT NULL,
    position INTEGER NOT NULL, tokens INTEGER NOT NULL, page_start INTEGER NOT NULL, page_end INTEGER NOT NULL,
    char_start INTEGER NOT NULL, char_end INTEGER NOT NULL, section TEXT NOT NULL, marks TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE UNIQUE INDEX chunks_of_document ON chunks (tenant, document, chunk_id);
CREATE INDEX chunks_staged ON chunks (tenant, job_id) WHERE searchable = 0;
CREATE INDEX chunks_unsegmented ON chunks (tenant) WHERE unsegmented = 1 AND searchable = 1;

CREATE TABLE turns (
    id INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL, turn_id TEXT NOT NULL, session TEXT NOT NULL,
    hash TEXT NOT NULL, role TEXT NOT NULL, created_at REAL NOT NULL, unsegmented INTEGER NOT NULL,
    message_id TEXT NOT NULL, text TEXT NOT NULL
);
CREATE UNIQUE INDEX turns_by_id ON turns (tenant, turn_id);
CREATE UNIQUE INDEX turns_said_once ON turns (tenant, session, hash);
CREATE INDEX turns_of_session ON turns (tenant, session, id);
CREATE INDEX turns_newest ON turns (tenant, created_at DESC, id DESC);
CREATE INDEX turns_of_message ON turns (tenant, message_id);
CREATE INDEX turns_unsegmented ON turns (tenant) WHERE unsegmented = 1;

CREATE TABLE vectors (
    id INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL, kind TEXT NOT NULL, model INTEGER NOT NULL,
    owner INTEGER NOT NULL, window INTEGER NOT NULL, vector BLOB NOT NULL
);
CREATE INDEX vectors_of_owner ON vectors (owner, kind);
CREATE INDEX vectors_of_index ON vectors (tenant, kind, model, owner);

CREATE VIRTUAL TABLE chunk_words USING fts5 (scope, body, content='', tokenize='porter unicode61 remove_diacritics 2');
CREATE VIRTUAL TABLE chunk_grams USING fts5 (scope, body, content='', tokenize='trigram');
CREATE VIRTUAL TABLE turn_words USING fts5 (scope, body, content='', tokenize='porter unicode61 remove_diacritics 2');
CREATE VIRTUAL TABLE turn_grams USING fts5 (scope, body, content='', tokenize='trigram');

CREATE TABLE processed (
    tenant INTEGER NOT NULL, message_id TEXT NOT NULL, at REAL NOT NULL, result INTEGER NOT NULL,
    PRIMARY KEY (tenant, message_id)
) WITHOUT ROWID;
CREATE INDEX processed_oldest ON processed (at);

CREATE TABLE job_batches (
    tenant INTEGER NOT NULL, job_id TEXT NOT NULL, batch INTEGER NOT NULL, document TEXT NOT NULL, at REAL NOT NULL,
    done INTEGER NOT NULL, complete INTEGER NOT NULL, chunks INTEGER NOT NULL, vectors INTEGER NOT NULL,
    PRIMARY KEY (tenant, job_id, batch)
) WITHOUT ROWID;
CREATE INDEX job_batches_of_document ON job_batches (tenant, document);
CREATE INDEX job_batches_oldest ON job_batches (at);

CREATE TABLE tombstones (
    tenant INTEGER NOT NULL, job_id TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (tenant, job_id)
) WITHOUT ROWID;
CREATE INDEX tombstones_oldest ON tombstones (at);
"""

_SECOND: Final = """
CREATE TABLE loose_blobs (blob TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX documents_of_blob ON documents (blob);
"""

_THIRD: Final = "ALTER TABLE chunks ADD COLUMN headings TEXT NOT NULL DEFAULT '[]';"

_FOURTH: Final = "ALTER TABLE job_batches ADD COLUMN started_at REAL NOT NULL DEFAULT 0;"

MIGRATIONS: Final[Sequence[str]] = (_FIRST, _SECOND, _THIRD, _FOURTH)


def migrate(connection: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring a file to this release's schema, one transaction for each step.

    Raises:
        StoreVersion: the file was written by a newer release.
        StoreCorrupt: it is a database of something else.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (version or tables):
        raise StoreCorrupt(
            "The file is a database of another program.",
            next_step="Point the memory service at its own data folder.",
        )
    if version > len(migrations):
        raise StoreVersion(
            f"The store has schema {version}; this release knows up to {len(migrations)}.",
            next_step="Start the newer release again, or restore a backup from before the upgrade.",
        )
    for number, script in enumerate(migrations[version:], start=version + 1):
        stamp = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number};"
        connection.executescript(f"BEGIN IMMEDIATE; {script} {stamp} COMMIT;")


def check(connection: sqlite3.Connection) -> None:
    """Raise StoreCorrupt unless SQLite finds every page of the file in order."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreCorrupt(
            f"The store is damaged: {verdict}.",
            next_step="Restore a backup, or move the file away and ingest the documents again.",
        )
