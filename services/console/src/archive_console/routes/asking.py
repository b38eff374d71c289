"""Questions to memory, on behalf of a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archive_bus import BusError, RequestFailed
from archive_console.domain.errors import NotThere
from archive_console.routes.visit import Visit
from archive_contracts.documents import DocumentInfo
from archive_contracts.memory import DocumentsFound, DocumentText, GetDocument, GetDocumentText, ListDocuments
from archive_contracts.streams import MEMORY_QUERIES

OFFERED = 50
"""Documents that are offered at once, to be picked; others are found by their names."""
PATIENCE_S = 3.0
FIRST_S = 0.25
"""What a list waits for at most before its page is shown without."""
GONE = "A document that is there no longer"
UNNAMED = "A document that was picked"


@dataclass(frozen=True, slots=True)
class Choice:
    """A document that a question can be limited to."""

    id: str
    name: str
    picked: bool


def choices(known: Mapping[str, str], *, picked: Mapping[str, str]) -> list[Choice]:
    """Return what a question can be limited to: first what is picked, wherever in the catalogue it stands.

    Both are names by ids. A document that nobody knows stays picked: without it the question would be put to all.
    """
    first = [Choice(name, known.get(name) or title, True) for name, title in picked.items()]
    return first + [Choice(name, title, False) for name, title in known.items() if name not in picked]


def picked_before(visit: Visit, picked: Sequence[str]) -> dict[str, str]:
    """Return names of picked documents by their ids, as far as anybody has seen them: without a wait."""
    seen = visit.desk.shelves.names(visit.tenant, picked)
    return {name: seen.get(name, UNNAMED) for name in picked}


async def picked_now(visit: Visit, picked: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return names of picked documents by their ids; of very many, some as they were seen last. Raises BusError."""
    names = picked_before(visit, picked) | {name: known[name] for name in picked if name in known}
    for name in [name for name in names if name not in known][:OFFERED]:
        try:
            names[name] = (await _document(visit, name)).filename
        except NotThere:
            names[name] = GONE
    return names


async def library(visit: Visit, *, words: str = "") -> dict[str, str]:
    """Return names of the latest documents that can be asked about, by their ids. Raises BusError."""
    found = await documents(visit, limit=OFFERED, words=words)
    return {info.id: info.filename for info in found.documents if info.status in {"ready", "partial"}}


async def documents(
    visit: Visit, *, limit: int, offset: int = 0, words: str = "", patience_s: float = PATIENCE_S
) -> DocumentsFound:
    """Return a page of the catalogue, or of those whose name or title holds ``words``. Raises BusError."""
    wanted = ListDocuments(limit=limit, offset=offset, words=words)
    found = await visit.desk.bus.request(
        wanted, DocumentsFound, to=MEMORY_QUERIES, origin=visit.origin, timeout=patience_s
    )
    visit.desk.shelves.note(visit.tenant, found.documents, latest=not offset and not words)
    return found


async def document(visit: Visit) -> DocumentInfo:
    """Return the document that the address names. Raises NotThere, BusError."""
    return await _document(visit, visit.request.path_params["document"])


async def _document(visit: Visit, name: str) -> DocumentInfo:
    try:
        found = await visit.desk.bus.request(
            GetDocument(document_id=name), DocumentsFound, to=MEMORY_QUERIES, origin=visit.origin, timeout=PATIENCE_S
        )
    except RequestFailed as error:
        raise _missing(error) from None
    if not found.documents:
        raise NotThere("There is no such document.", next_step="It may have been deleted.")
    visit.desk.shelves.note(visit.tenant, found.documents, latest=False)
    return found.documents[0]


async def passages(
    visit: Visit, document_id: str, *, first: int = 1, last: int | None = None, offset: int = 0, limit: int = 400
) -> DocumentText:
    """Return passages of some pages, in their order. Raises NotThere, BusError."""
    wanted = GetDocumentText(document_id=document_id, first_page=first, last_page=last, limit=limit, offset=offset)
    try:
        return await visit.desk.bus.request(
            wanted, DocumentText, to=MEMORY_QUERIES, origin=visit.origin, timeout=PATIENCE_S
        )
    except RequestFailed as error:
        raise _missing(error) from None


def _missing(error: RequestFailed) -> NotThere | BusError:
    """Return what a person is told where memory has no such document: what it answers is meant for programs."""
    if error.problem().status != 404:
        return error
    return NotThere("There is no such document.", next_step="It may have been deleted.")
