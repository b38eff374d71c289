"""Questions to memory, on behalf of a page."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from archive_bus import BusError
from archive_console.domain.errors import NotThere
from archive_console.routes.visit import Visit
from archive_contracts.documents import DocumentInfo
from archive_contracts.memory import DocumentsFound, DocumentText, GetDocument, GetDocumentText, ListDocuments
from archive_contracts.streams import MEMORY_QUERIES

OFFERED = 50
"""Documents that are offered at once, to be picked; others are found by their names."""
PATIENCE_S = 3.0
FIRST_S = 0.25
"""What a page waits for at most before it is shown without."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A document that a question can be limited to."""

    id: str
    name: str
    picked: bool


async def library(visit: Visit, *, words: str = "") -> tuple[DocumentInfo, ...]:
    """Return the latest documents; none when memory does not answer: a page is there without a wait."""
    try:
        found = await documents(visit, limit=OFFERED, words=words, patience_s=FIRST_S)
    except BusError:
        return ()
    return tuple(document for document in found.documents if document.status in {"ready", "partial"})


async def choices(visit: Visit, found: Sequence[DocumentInfo], *, picked: Sequence[str]) -> list[Choice]:
    """Return what a question can be limited to: first what is picked, wherever in the catalogue it stands.

    A document that nobody knows stays picked: without it the question would be put to all of them.
    """
    names = {document.id: document.filename for document in found}
    kept = dict.fromkeys(picked[:OFFERED])
    with anyio.move_on_after(FIRST_S), contextlib.suppress(BusError):
        for name in [name for name in kept if name not in names]:
            told = await visit.desk.bus.request(
                GetDocument(document_id=name), DocumentsFound, to=MEMORY_QUERIES, origin=visit.origin, timeout=FIRST_S
            )
            names |= {document.id: document.filename for document in told.documents}
    first = [Choice(name, names.get(name, "A document that is there no longer"), True) for name in kept]
    return first + [Choice(document.id, document.filename, False) for document in found if document.id not in kept]


async def documents(
    visit: Visit, *, limit: int, offset: int = 0, words: str = "", patience_s: float = PATIENCE_S
) -> DocumentsFound:
    """Return a page of the catalogue, or of those whose name or title holds ``words``. Raises BusError."""
    wanted = ListDocuments(limit=limit, offset=offset, words=words)
    return await visit.desk.bus.request(
        wanted, DocumentsFound, to=MEMORY_QUERIES, origin=visit.origin, timeout=patience_s
    )


async def document(visit: Visit) -> DocumentInfo:
    """Return the document that the address names. Raises NotThere, BusError."""
    wanted = GetDocument(document_id=visit.request.path_params["document"])
    found = await visit.desk.bus.request(
        wanted, DocumentsFound, to=MEMORY_QUERIES, origin=visit.origin, timeout=PATIENCE_S
    )
    if not found.documents:
        raise NotThere("There is no such document.", next_step="It may have been deleted.")
    return found.documents[0]


async def passages(visit: Visit, document_id: str, *, first: int, last: int | None) -> DocumentText:
    """Return the passages of some pages. Raises BusError."""
    wanted = GetDocumentText(document_id=document_id, first_page=first, last_page=last, limit=400)
    return await visit.desk.bus.request(
        wanted, DocumentText, to=MEMORY_QUERIES, origin=visit.origin, timeout=PATIENCE_S
    )
