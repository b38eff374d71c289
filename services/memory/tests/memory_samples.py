"""Documents, chunks and vectors for the tests, all made from seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from archive_contracts.base import Problem
from archive_contracts.documents import Chunk, DocumentChunked, DocumentFailed, DocumentInfo
from archive_memory.domain.index import Matrix, unit
from archive_memory.domain.windows import QueryVector, WindowVectors

DIM = 16
MODEL = "seeded-16"


def vector(meaning: str, dim: int = DIM) -> Matrix:
    """A direction for a meaning: the same one every time."""
    seed = int.from_bytes(hashlib.sha256(meaning.encode()).digest()[:8], "little")
    return unit(np.random.default_rng(seed).standard_normal((1, dim)))[0]


def query(meaning: str) -> QueryVector:
    return QueryVector(MODEL, vector(meaning))


def vectors(*meanings: str | Sequence[str], model: str = MODEL) -> WindowVectors:
    """A window for each meaning of each text."""
    windows = [[text] if isinstance(text, str) else list(text) for text in meanings]
    rows = [vector(meaning) for text in windows for meaning in text]
    return WindowVectors(model, np.array(rows, np.float32).reshape(len(rows), DIM), tuple(map(len, windows)))


def batch(
    *texts: str,
    document: str = "doc-1",
    job: str = "job-1",
    recipe: str = "r1",
    number: int = 0,
    batches: int = 1,
    replace: str | None = None,
    bad_pages: tuple[int, ...] = (),
    form: str = "text",
) -> DocumentChunked:
    chunks = tuple(
        Chunk(id=f"{document}-{recipe}-{number}-{i}", index=number * 100 + i, text=text, tokens=len(text.split()))
        for i, text in enumerate(texts)
    )
    return DocumentChunked(
        job_id=job,
        document_id=document,
        filename=f"{document}.txt",
        format=form,
        pages=3,
        bad_pages=bad_pages,
        recipe=recipe,
        batch=number,
        batches=batches,
        total_chunks=len(texts) * batches,
        chunks=chunks,
        replace=replace,
    )


def info(document: str = "doc-1", job: str = "job-1", created_at: float = 100.0) -> DocumentInfo:
    return DocumentInfo(id=document, filename=f"{document}.txt", status="queued", job_id=job, created_at=created_at)


def failure(document: str = "doc-1", job: str = "job-1") -> DocumentFailed:
    problem = Problem(code="corrupt_pdf", message="It cannot be read.", next_step="Send another.", status=422)
    return DocumentFailed(job_id=job, document_id=document, filename=f"{document}.txt", problem=problem)
