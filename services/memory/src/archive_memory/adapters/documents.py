"""Changes to the catalogue and its chunks, as SQL inside somebody's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

import numpy as np

from archive_contracts.documents import Chunk, DocumentChunked, DocumentFailed, DocumentInfo
from archive_memory.adapters import ledger
from archive_memory.adapters.catalogue import find
from archive_memory.adapters.change import Change
from archive_memory.adapters.text import TextIndex, body_of
from archive_memory.adapters.vectors import Key, Model, insert_vectors, vectors_of
from archive_memory.domain.catalogue import (
    BatchOutcome,
    after_failure,
    after_queueing,
    is_stale,
    ready_status,
    superseded,
)
from archive_memory.domain.index import Matrix
from archive_memory.domain.query import is_unsegmented

_UPSERT: Final = """
    INSERT INTO documents (tenant, id, status, created_at, filename, format, title, size, pages, chunks, vectors,
                           stored_bytes, bad_pages, job_id, blob, error)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (tenant, id) DO UPDATE SET
        status = excluded.status, filename = excluded.filename, format = excluded.format, title = excluded.title,
        size = excluded.size, pages = excluded.pages, chunks = excluded.chunks, vectors = excluded.vectors,
        stored_bytes = excluded.stored_bytes, bad_pages = excluded.bad_pages, job_id = excluded.job_id,
        blob = excluded.blob, error = excluded.error
"""
_STAGE: Final = """
    INSERT INTO chunks (tenant, document, chunk_id, recipe, job_id, searchable, unsegmented, position, tokens,
                        page_start, page_end, char_start, char_end, section, marks, headings,
                        text)
    VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (tenant, document, chunk_id) DO UPDATE SET job_id = excluded.job_id, headings = excluded.headings
    RETURNING id, searchable
"""
_OF_DOCUMENT: Final = "SELECT id, recipe, searchable, section, text FROM chunks WHERE tenant = ? AND document = ?"
_OF_JOB: Final = """
    SELECT id, recipe, searchable, section, text FROM chunks WHERE tenant = ? AND job_id = ? AND searchable = 0
"""
_words: Final = TextIndex("chunk")


def queue(change: Change, info: DocumentInfo) -> None:
    """Enter a document whose job begins."""
    if ledger.is_buried(change.connection, change.tenant, info.job_id):
        return
    known = find(change.connection, change.tenant, info.id)
    if known and known.status == "failed" and known.job_id == info.job_id:
        return  # the job's failure travels on another stream and came first
    if after_queueing(known.status if known else None) == "queued":
        _write(change, info.model_copy(update={"status": "queued", "error": None}))


def add_batch(change: Change, batch: DocumentChunked, vectors: Sequence[Matrix], model: Model | None) -> BatchOutcome:
    """Store a batch of chunks; the job's last one makes the document searchable in the same transaction.

    A job that is run again after an upgrade may read its document by another recipe: the later run's chunks stand.
    """
    if _overtakes(change, batch):
        _drop_staged(change, batch.job_id)
    earlier = outcome_of(change.connection, change.tenant, batch, new=False)
    if earlier is not None:
        return earlier
    if ledger.is_buried(change.connection, change.tenant, batch.job_id):
        return BatchOutcome(False, 0, batch.batches, False, 0, 0, dropped=True)
    if _is_overtaken(change, batch):
        return BatchOutcome(False, 0, batch.batches, False, 0, 0)
    for chunk, windows in zip(batch.chunks, vectors, strict=True):
        _stage(change, batch, chunk, windows, model)
    sql = "SELECT count(*) FROM job_batches WHERE tenant = ? AND job_id = ?"
    (done,) = change.connection.execute(sql, (change.tenant, batch.job_id)).fetchone()
    complete = done + 1 >= batch.batches
    change.connection.execute(
        "INSERT INTO job_batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(change.tenant, batch.job_id, batch.batch, batch.document_id, change.at),
            *(done + 1, complete, len(batch.chunks), sum(map(len, vectors)), batch.started_at),
        ),
    )
    if complete:
        _complete(change, batch)
    outcome = outcome_of(change.connection, change.tenant, batch, new=True)
    assert outcome is not None
    return outcome


def _overtakes(change: Change, batch: DocumentChunked) -> bool:
    """Whether what is staged of the job is of an earlier run by another recipe."""
    sql = "SELECT 1 FROM job_batches WHERE tenant = ? AND job_id = ? AND (complete OR started_at >= ?)"
    stands = change.connection.execute(sql, (change.tenant, batch.job_id, batch.started_at)).fetchone()
    return stands is None and _is_staged_by_another_recipe(change, batch)


def _is_overtaken(change: Change, batch: DocumentChunked) -> bool:
    """Whether a batch that is new comes too late: the job is complete, or a later run has begun by another recipe."""
    return _is_complete(change, batch.job_id) or _is_staged_by_another_recipe(change, batch)


def _is_complete(change: Change, job_id: str) -> bool:
    sql = "SELECT 1 FROM job_batches WHERE tenant = ? AND job_id = ? AND complete"
    return change.connection.execute(sql, (change.tenant, job_id)).fetchone() is not None


def _is_staged_by_another_recipe(change: Change, batch: DocumentChunked) -> bool:
    # One tells of all: what a job has staged is of one run.
    sql = "SELECT recipe FROM chunks WHERE tenant = ? AND job_id = ? AND searchable = 0 LIMIT 1"
    row = change.connection.execute(sql, (change.tenant, batch.job_id)).fetchone()
    return row is not None and row[0] != batch.recipe


def outcome_of(
    connection: sqlite3.Connection, tenant: int, batch: DocumentChunked, *, new: bool
) -> BatchOutcome | None:
    """Return what a batch did when it was stored, None when it was not."""
    sql = "SELECT done, complete FROM job_batches WHERE tenant = ? AND job_id = ? AND batch = ?"
    row = connection.execute(sql, (tenant, batch.job_id, batch.batch)).fetchone()
    if row is None:
        return None
    done, complete = row
    sql = "SELECT sum(chunks), sum(vectors) FROM job_batches WHERE tenant = ? AND job_id = ? AND done <= ?"
    chunks, vectors = connection.execute(sql, (tenant, batch.job_id, done)).fetchone()
    return BatchOutcome(new, done, batch.batches, bool(complete), chunks, vectors)


def fail(change: Change, failed: DocumentFailed) -> None:
    """Enter why a document could not be read; what an earlier job made searchable stays."""
    if ledger.is_buried(change.connection, change.tenant, failed.job_id):
        return
    _drop_staged(change, failed.job_id)
    known = find(change.connection, change.tenant, failed.document_id)
    if after_failure(known.status if known else None) != "failed":
        return
    info = known or DocumentInfo(id=failed.document_id, filename=failed.filename, status="failed", created_at=change.at)
    update = {
        "status": "failed",
        "error": failed.problem,
        "job_id": failed.job_id,
        "filename": failed.filename or info.filename,
        "blob": failed.blob or info.blob,
        "size": failed.size or info.size,
    }
    _write(change, info.model_copy(update=update))


def cancel(change: Change, job_id: str) -> None:
    """End a job that is not complete: its chunks go, and its document unless an earlier job made it searchable."""
    if _is_complete(change, job_id):
        return
    ledger.bury(change.connection, change.tenant, job_id, change.at)
    _drop_staged(change, job_id)
    sql = "DELETE FROM documents WHERE tenant = ? AND job_id = ? AND status = 'queued' RETURNING blob"
    for (blob,) in change.connection.execute(sql, (change.tenant, job_id)).fetchall():
        _let_go(change, blob)


def delete(change: Change, document_id: str) -> bool:
    """Remove a document with all that came from it; return whether there was one."""
    connection, of = change.connection, (change.tenant, document_id)
    known = find(connection, change.tenant, document_id)
    jobs = {known.job_id} if known else set[str]()
    jobs |= {job for (job,) in connection.execute(_JOBS, (*of, *of))}
    for job in jobs:
        ledger.bury(connection, change.tenant, job, change.at)
    _drop(change, connection.execute(_OF_DOCUMENT, of).fetchall())
    connection.execute("DELETE FROM job_batches WHERE tenant = ? AND document = ?", of)
    connection.execute("DELETE FROM documents WHERE tenant = ? AND id = ?", of)
    if known:
        _let_go(change, known.blob)
    return known is not None


def loose_blobs(connection: sqlite3.Connection, before: float) -> list[str]:
    """Return the bytes that no document has referred to since a time; those that one refers to again are forgotten."""
    connection.execute(
        "DELETE FROM loose_blobs WHERE EXISTS (SELECT 1 FROM documents WHERE documents.blob = loose_blobs.blob)"
    )
    rows = connection.execute("SELECT blob FROM loose_blobs WHERE at <= ?", (before,))
    return [blob for (blob,) in rows]


def forget_blobs(connection: sqlite3.Connection, blobs: Sequence[str]) -> None:
    """Note that these bytes are gone."""
    connection.executemany("DELETE FROM loose_blobs WHERE blob = ?", [(blob,) for blob in blobs])


def _let_go(change: Change, blob: str) -> None:
    if blob:
        change.connection.execute("INSERT OR REPLACE INTO loose_blobs VALUES (?, ?)", (blob, change.at))


_JOBS: Final = """
    SELECT DISTINCT job_id FROM chunks WHERE tenant = ? AND document = ?
    UNION SELECT job_id FROM job_batches WHERE tenant = ? AND document = ?
"""


def _stage(change: Change, batch: DocumentChunked, chunk: Chunk, windows: Matrix, model: Model | None) -> None:
    """Store a chunk that cannot be found yet. One that is there already keeps its text and gets these vectors."""
    connection = change.connection
    body = body_of(chunk.text, chunk.section)
    row = (
        *(change.tenant, batch.document_id, chunk.id, batch.recipe, batch.job_id, is_unsegmented(body)),
        *(chunk.index, chunk.tokens, chunk.page_start, chunk.page_end, chunk.char_start, chunk.char_end),
        *(json.dumps(chunk.section), json.dumps(chunk.marks), json.dumps(chunk.headings), chunk.text),
    )
    identity, searchable = connection.execute(_STAGE, row).fetchone()
    change.hide("chunk", [identity])
    if model is not None:
        insert_vectors(connection, Key(change.tenant, "chunk", model.id), identity, windows)
    if searchable:
        change.show("chunk", [identity])


def _complete(change: Change, batch: DocumentChunked) -> None:
    """Make the job's chunks findable and remove what they replace."""
    connection = change.connection
    replaced = superseded(batch.document_id, batch.replace)
    if replaced:
        delete(change, replaced)
    rows = connection.execute(_OF_DOCUMENT, (change.tenant, batch.document_id)).fetchall()
    _drop(change, [row for row in rows if is_stale(row[1], batch.recipe)])
    kept = [row for row in rows if not is_stale(row[1], batch.recipe)]
    fresh = [row for row in kept if not row[2]]
    _words.insert(connection, change.tenant, ((row[0], _body(row)) for row in fresh))
    connection.executemany("UPDATE chunks SET searchable = 1 WHERE id = ?", [(row[0],) for row in fresh])
    change.show("chunk", [row[0] for row in fresh])
    known = find(connection, change.tenant, batch.document_id)
    info = DocumentInfo(
        id=batch.document_id,
        filename=batch.filename,
        status=ready_status(batch.bad_pages),
        format=batch.format,
        title=batch.title,
        size=batch.size or (known.size if known else 0),
        pages=batch.pages,
        chunks=len(kept),
        bad_pages=batch.bad_pages,
        job_id=batch.job_id,
        blob=batch.blob or (known.blob if known else ""),
        created_at=known.created_at if known else change.at,
    )
    _write(change, info, *_footprint(connection, [row[0] for row in kept], sum(len(row[4].encode()) for row in kept)))


def _footprint(connection: sqlite3.Connection, chunks: Sequence[int], text_bytes: int) -> tuple[int, int]:
    """Return how many vectors these chunks have, and how many bytes are theirs."""
    by_model = vectors_of(connection, "chunk", chunks)
    count = sum(len(ids) for ids, _ in by_model.values())
    return count, text_bytes + sum(vectors.size * np.dtype("<f2").itemsize for _, vectors in by_model.values())


def _drop_staged(change: Change, job_id: str) -> None:
    """Remove what a job has stored and nobody can find, so that the job may begin anew."""
    _drop(change, change.connection.execute(_OF_JOB, (change.tenant, job_id)).fetchall())
    sql = "DELETE FROM job_batches WHERE tenant = ? AND job_id = ? AND NOT EXISTS (SELECT 1 FROM job_batches done \
           WHERE done.tenant = job_batches.tenant AND done.job_id = job_batches.job_id AND done.complete)"
    change.connection.execute(sql, (change.tenant, job_id))


ChunkRow = tuple[int, str, int, str, str]


def _drop(change: Change, rows: Sequence[ChunkRow]) -> None:
    """Remove chunks: words, vectors, rows."""
    if not rows:
        return
    _words.delete(change.connection, change.tenant, ((row[0], _body(row)) for row in rows if row[2]))
    change.hide("chunk", [row[0] for row in rows])
    change.connection.executemany("DELETE FROM chunks WHERE id = ?", [(row[0],) for row in rows])


def _body(row: ChunkRow) -> str:
    return body_of(row[4], json.loads(row[3]))


def _write(change: Change, info: DocumentInfo, vectors: int = 0, stored_bytes: int = 0) -> None:
    error = info.error.model_dump_json() if info.error else None
    change.connection.execute(
        _UPSERT,
        (
            *(change.tenant, info.id, info.status, info.created_at or change.at, info.filename, info.format),
            *(info.title, info.size, info.pages, info.chunks, vectors, stored_bytes),
            *(json.dumps(info.bad_pages), info.job_id, info.blob, error),
        ),
    )
