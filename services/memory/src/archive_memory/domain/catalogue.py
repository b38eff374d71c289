"""Rules of the catalogue: what a document's status becomes, and which of its chunks are out of date."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

from archive_contracts.documents import DocumentStatus

SEARCHABLE: frozenset[DocumentStatus] = frozenset({"ready", "partial"})


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What a batch of chunks did.

    A batch that comes again tells what it told the first time, with ``new`` false: whoever was cut off between
    storing it and saying so can say so now. ``complete`` is true for the one batch that made the document searchable.
    Counts are of the whole job so far. ``dropped``: the job was cancelled or its document deleted; nothing was stored.
    """

    new: bool
    batches_done: int
    batches: int
    complete: bool
    chunks: int
    vectors: int
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class NewTurn:
    """Something that was said in a conversation, to be remembered."""

    role: str
    text: str
    session: str = "default"
    created_at: float = 0.0


def ready_status(bad_pages: tuple[int, ...]) -> DocumentStatus:
    """Return what a document becomes when all of its chunks are there."""
    return "partial" if bad_pages else "ready"


def after_queueing(current: DocumentStatus | None) -> DocumentStatus:
    """Return the status when a job for the document begins: one that can be searched stays so meanwhile."""
    return "queued" if current is None or current not in SEARCHABLE else current


def after_failure(current: DocumentStatus | None) -> DocumentStatus:
    """Return the status when a job fails: what an earlier job made searchable is still there."""
    return "failed" if current is None or current not in SEARCHABLE else current


def is_stale(chunk_recipe: str, recipe: str) -> bool:
    """Return whether a chunk is superseded once its document has been chunked by ``recipe``."""
    return chunk_recipe != recipe


def superseded(document_id: str, replace: str | None) -> str | None:
    """Return the document that goes when this one is complete; a document never supersedes itself."""
    return replace if replace and replace != document_id else None


def turn_hash(turn: NewTurn) -> str:
    """Return what two turns have in common when they are the same: speaker and words, not case, form or spaces."""
    text = " ".join(unicodedata.normalize("NFKC", turn.text).casefold().split())
    return hashlib.sha256(f"{turn.role}\0{text}".encode("utf-8", "replace")).hexdigest()


def turn_id(tenant: str, session: str, digest: str) -> str:
    """Return a turn's id: the same for the same words in the same session, and never shared between tenants."""
    return "mem-" + hashlib.sha256(f"{tenant}\0{session}\0{digest}".encode("utf-8", "replace")).hexdigest()[:24]
