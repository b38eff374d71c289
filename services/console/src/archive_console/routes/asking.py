"""Questions to memory, on behalf of a page."""

from archive_bus import BusError
from archive_console.domain.errors import NotThere
from archive_console.routes.visit import Visit
from archive_contracts.documents import DocumentInfo
from archive_contracts.memory import DocumentsFound, DocumentText, GetDocument, GetDocumentText, ListDocuments
from archive_contracts.streams import MEMORY_QUERIES

PATIENCE_S = 3.0
FIRST_S = 0.25
"""What a page waits for at most before it is shown without."""


async def library(visit: Visit, *, limit: int = 200) -> tuple[DocumentInfo, ...]:
    """Return the latest documents; none when memory does not answer: a page is there without a wait."""
    try:
        found = await documents(visit, limit=limit, patience_s=FIRST_S)
    except BusError:
        return ()
    return tuple(document for document in found.documents if document.status in {"ready", "partial"})


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
