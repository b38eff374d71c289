"""Questions to the catalogue and to the text of its documents, as SQL on somebody's connection."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from typing import Final

from archive_contracts.base import Problem
from archive_contracts.documents import Chunk, DocumentInfo, DocumentStatus
from archive_contracts.memory import LibraryStats
from archive_memory.adapters import turns
from archive_memory.domain.catalogue import SEARCHABLE

_INFO: Final = """
    SELECT id, filename, status, format, title, size, pages, chunks, bad_pages, job_id, blob, created_at, error
    FROM documents WHERE tenant = ?
"""
PASSAGE: Final = """
    chunks.chunk_id, chunks.position, chunks.text, chunks.tokens, chunks.page_start, chunks.page_end,
    chunks.char_start, chunks.char_end, chunks.section, chunks.marks, chunks.headings
"""
"""The columns of a passage, of a table ``chunks``."""
_ON_PAGES: Final = """
    FROM chunks WHERE tenant = ? AND document = ? AND searchable = 1 AND page_end >= ? AND page_start <= ?
"""


def find(connection: sqlite3.Connection, tenant: int, document_id: str) -> DocumentInfo | None:
    """Return a row of the catalogue."""
    row = connection.execute(_INFO + "AND id = ?", (tenant, document_id)).fetchone()
    return _info(row) if row else None


def page(
    connection: sqlite3.Connection, tenant: int, words: str, window: tuple[int, int]
) -> tuple[list[DocumentInfo], int]:
    """Return rows of the catalogue, newest first, and how many there are; with ``words`` those that are called so.

    ``window`` is (limit, offset).
    """
    named, values = "", tuple[str, ...]()
    if words:
        pattern = re.sub(r"([%_\\])", r"\\\1", words.replace("\0", "\ufffd"))
        named, values = r"AND (filename LIKE ? ESCAPE '\' OR title LIKE ? ESCAPE '\') ", (f"%{pattern}%",) * 2
    rows = connection.execute(
        _INFO + named + "ORDER BY created_at DESC, id LIMIT ? OFFSET ?", (tenant, *values, *window)
    ).fetchall()
    count = "SELECT count(*) FROM documents WHERE tenant = ? "
    (total,) = connection.execute(count + named, (tenant, *values)).fetchone()
    return [_info(row) for row in rows], total


def text(
    connection: sqlite3.Connection,
    tenant: int,
    document_id: str,
    pages: tuple[int, int | None],
    window: tuple[int, int],
) -> tuple[list[Chunk], int]:
    """Return passages that touch the pages from the first to the last, in order, and how many there are.

    ``window`` is (limit, offset).
    """
    first, last = pages
    key = (tenant, document_id, first, last if last is not None else 2**62)
    (total,) = connection.execute(f"SELECT count(*) {_ON_PAGES}", key).fetchone()
    rows = connection.execute(f"SELECT {PASSAGE} {_ON_PAGES} ORDER BY position LIMIT ? OFFSET ?", (*key, *window))
    return [passage_of(row) for row in rows], total


def searchable_documents(
    connection: sqlite3.Connection, tenant: int, document_ids: Sequence[str], formats: Sequence[str]
) -> tuple[list[str] | None, int, int]:
    """Return the ids of the documents to search (None for all of the tenant's), how many of the tenant's can be
    searched, and how many chunks they have."""
    sql = "SELECT id, format, status, chunks FROM documents WHERE tenant = ?"
    rows = [row for row in connection.execute(sql, (tenant,)) if row[2] in SEARCHABLE]
    chunks = sum(row[3] for row in rows)
    if not document_ids and not formats:
        return None, len(rows), chunks
    wanted, kinds = set(document_ids), set(formats)
    chosen = [row[0] for row in rows if (not wanted or row[0] in wanted) and (not kinds or row[1] in kinds)]
    return (None if len(chosen) == len(rows) else chosen), len(rows), chunks


def stats(connection: sqlite3.Connection, tenant: int) -> LibraryStats:
    """Return how much a tenant has."""
    sql = "SELECT filename, chunks, vectors, stored_bytes FROM documents \
           WHERE tenant = ? AND status IN ('ready', 'partial') ORDER BY filename"
    rows = connection.execute(sql, (tenant,)).fetchall()
    return LibraryStats(
        documents=len(rows),
        chunks=sum(row[1] for row in rows),
        vectors=sum(row[2] for row in rows),
        memories=turns.count(connection, tenant),
        files=tuple(dict.fromkeys(row[0] for row in rows)),
        bytes_on_disk=sum(row[3] for row in rows),
    )


def passage_of(row: tuple[object, ...]) -> Chunk:
    """Return a passage from columns in the order of PASSAGE."""
    identity, position, text, tokens, page_start, page_end, char_start, char_end, section, marks, headings = row
    found = {
        "id": identity,
        "index": position,
        "text": text,
        "tokens": tokens,
        "page_start": page_start,
        "page_end": page_end,
        "char_start": char_start,
        "char_end": char_end,
        "section": json.loads(str(section)),
        "marks": json.loads(str(marks)),
        "headings": json.loads(str(headings)),
    }
    return Chunk.model_validate(found)


InfoRow = tuple[str, str, DocumentStatus, str, str, int, int, int, str, str, str, float, str | None]


def _info(row: InfoRow) -> DocumentInfo:
    identity, filename, status, form, title, size, pages, chunks, bad_pages, job_id, blob, created_at, error = row
    return DocumentInfo(
        id=identity,
        filename=filename,
        status=status,
        format=form,
        title=title,
        size=size,
        pages=pages,
        chunks=chunks,
        bad_pages=tuple(json.loads(bad_pages)),
        job_id=job_id,
        blob=blob,
        created_at=created_at,
        error=Problem.model_validate_json(error) if error else None,
    )
