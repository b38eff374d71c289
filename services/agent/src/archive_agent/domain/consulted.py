"""From what memory found to candidates of evidence, and from evidence to the sources of an answer."""

from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest

from archive_agent.domain.evidence import Candidate
from archive_agent.domain.research import Source as Evidence
from archive_contracts.agents import Source
from archive_contracts.documents import PAGELESS
from archive_contracts.memory import ChunkHit, MemoryItem

# Cosines of all-MiniLM-L6-v2: greetings and other small talk reach 0.30 with a question they have nothing to do with.
NEAREST_SMALL_TALK = 0.35


def from_chunk(hit: ChunkHit) -> Candidate:
    """Return a passage of a document as a candidate."""
    return Candidate(
        type="library",
        text=hit.chunk.text,
        similarity=hit.similarity,
        filename=hit.filename,
        marks=() if hit.format in PAGELESS else hit.chunk.marks or ((0, hit.chunk.page_start),),
        headings=hit.chunk.headings,
        document_id=hit.document_id,
        chunk_id=hit.chunk.id,
        section=hit.chunk.section,
    )


def in_turn(found: Sequence[Sequence[ChunkHit]], *, limit: int) -> list[ChunkHit]:
    """Return the best hits of several searches, by turns, each passage once."""
    kept: dict[str, ChunkHit] = {}
    for places in zip_longest(*found):
        for hit in places:
            if hit is not None:
                kept.setdefault(hit.chunk.id, hit)
    return list(kept.values())[:limit]


def from_memories(items: Iterable[MemoryItem], *, question: str) -> list[Candidate]:
    """Return remembered turns as candidates.

    A question that was asked before is no evidence for its answer, and what is no nearer than small talk is none for
    anything; a turn found by its words alone has no similarity and counts.
    """
    asked = " ".join(question.casefold().split())
    return [
        Candidate(
            type="memory",
            text=item.text,
            similarity=item.similarity or 0.0,
            chunk_id=item.id,
            timestamp=item.created_at,
        )
        for item in items
        if not (item.role == "user" and item.text.rstrip().endswith("?"))
        and " ".join(item.text.casefold().split()) != asked
        and (item.similarity is None or item.similarity >= NEAREST_SMALL_TALK)
    ]


def as_candidate(source: Source) -> Candidate:
    """Return the candidate that callers were shown as a source; of its pages only that of one sentence is known."""
    return Candidate(
        type=source.type,
        text=source.text,
        similarity=source.similarity,
        filename=source.filename,
        marks=() if source.page is None else ((0, source.page),),
        document_id=source.document_id,
        chunk_id=source.chunk_id,
        section=source.section,
        timestamp=source.timestamp,
    )


def as_source(evidence: Evidence, *, cited: Collection[int] = ()) -> Source:
    """Return a piece of evidence as callers see it."""
    found = evidence.candidate
    return Source(
        number=evidence.number,
        type=found.type,
        text=found.text,
        sentence=evidence.sentence,
        page=evidence.page,
        filename=found.filename,
        similarity=round(found.similarity, 4),
        document_id=found.document_id,
        chunk_id=found.chunk_id,
        section=found.section,
        timestamp=found.timestamp,
        cited=evidence.number in cited,
    )
