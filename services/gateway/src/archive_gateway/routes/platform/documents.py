"""Documents: upload, list, look up, delete."""

import secrets
from typing import Annotated, Literal

from pydantic import BaseModel, Field, RootModel
from starlette.types import ASGIApp

from archive_contracts.documents import DeleteDocument, DocumentDeleted, DocumentInfo, IngestDocument, document_id
from archive_contracts.jobs import JobQueued
from archive_contracts.memory import DocumentsFound, GetDocument, ListDocuments
from archive_contracts.streams import DOCUMENT_COMMANDS, JOBS_JOURNAL, MEMORY_COMMANDS, MEMORY_QUERIES
from archive_gateway.domain.errors import BadRequest, NotThere
from archive_gateway.domain.identity import is_id
from archive_gateway.domain.ports import Form, StoredFile
from archive_gateway.routes.answers import Json
from archive_gateway.routes.asking import PUBLISH_S
from archive_gateway.routes.connection import check_announced, chunks
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit

FRAMING = 64 * 1024
"""Bytes that boundaries and headers may add to the files of an upload."""


class Upload(BaseModel):
    """A multipart form: one or more files, whatever their fields are called."""

    file: Annotated[str, Field(json_schema_extra={"format": "binary"})]
    replace: Annotated[str | None, Field(description="Id of the document that this one supersedes.")] = None


class Accepted(BaseModel):
    """A file that will be searchable when its job is done."""

    job_id: str
    document_id: str
    filename: str


class AcceptedList(RootModel[list[Accepted]]):
    """The same for each file of an upload of several."""


class Page(BaseModel):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    offset: Annotated[int, Field(ge=0, lt=2**31)] = 0


class DocumentList(BaseModel):
    """A page of the catalogue, newest first."""

    documents: tuple[DocumentInfo, ...]
    total: int


class DeletedDocument(BaseModel):
    """A document is gone, with its chunks and vectors."""

    id: str
    deleted: Literal[True] = True


async def create_document(desk: Desk, visit: Visit) -> ASGIApp:
    """Upload files to be made searchable."""
    limit = desk.limits.upload
    announced = visit.ticket.headers.get(b"content-length")
    check_announced(announced, limit=limit, framing=FRAMING, setting="GATEWAY_MAX_UPLOAD_MB")
    await desk.asking.demand_servers()
    form = await desk.uploads.receive(visit.header(b"content-type"), chunks(visit.receive), limit=limit)
    replace = _replaced(form)
    accepted = [await _queue(desk, visit, file, replace=replace) for file in form.files]
    return Json(accepted[0] if len(accepted) == 1 else AcceptedList(accepted), status=202)


def _replaced(form: Form) -> str | None:
    """Return the document to be superseded, if any. Raises BadRequest for a form that cannot be taken."""
    if not form.files:
        raise BadRequest("The form holds no file.", next_step="Send a file as a part with a filename.", param="file")
    for file in form.files:
        if file.size == 0:
            raise BadRequest(
                f"The file {file.filename!r} is empty.", next_step="Send its content.", param="file", code="empty_file"
            )
    replace = form.fields.get("replace", "").strip() or None
    if replace and len(form.files) > 1:
        raise BadRequest("One document can be replaced by one file.", next_step="Send one file.", param="replace")
    if replace and not is_id(replace):
        raise BadRequest("This is not the id of a document.", next_step="See /v1/documents.", param="replace")
    return replace


async def _queue(desk: Desk, visit: Visit, file: StoredFile, *, replace: str | None) -> Accepted:
    tenant = visit.ticket.tenant
    job = secrets.token_hex(16)
    document = document_id(tenant, file.sha256)
    queued = JobQueued(job_id=job, kind="ingest", document_id=document, filename=file.filename, tenant=tenant)
    # The journal first: whoever works on the document finds the beginning of its job there.
    await desk.bus.append(queued, to=JOBS_JOURNAL, entity=job, origin=visit.origin, timeout=PUBLISH_S)
    command = IngestDocument(
        job_id=job,
        document_id=document,
        blob=file.blob,
        filename=file.filename,
        size=file.size,
        content_type=file.content_type,
        replace=replace,
    )
    await desk.bus.publish(command, to=DOCUMENT_COMMANDS, origin=visit.origin, timeout=PUBLISH_S)
    return Accepted(job_id=job, document_id=document, filename=file.filename)


async def list_documents(desk: Desk, visit: Visit) -> ASGIApp:
    """List the library, newest first."""
    page = visit.query(Page)
    found = await desk.asking.ask(
        ListDocuments(limit=page.limit, offset=page.offset), DocumentsFound, to=MEMORY_QUERIES, origin=visit.origin
    )
    return Json(DocumentList(documents=found.documents, total=found.total))


async def get_document(desk: Desk, visit: Visit) -> ASGIApp:
    """Look up a document."""
    wanted = visit.id_of("document", "document")
    found = await desk.asking.ask(
        GetDocument(document_id=wanted), DocumentsFound, to=MEMORY_QUERIES, origin=visit.origin
    )
    if not found.documents:
        raise NotThere(f"There is no document {wanted!r}.", next_step="See /v1/documents.", code="document_not_found")
    return Json(found.documents[0])


async def delete_document(desk: Desk, visit: Visit) -> ASGIApp:
    """Remove a document with its chunks and vectors; answered when they are gone."""
    wanted = visit.id_of("document", "document")
    gone = await desk.asking.ask(
        DeleteDocument(document_id=wanted), DocumentDeleted, to=MEMORY_COMMANDS, origin=visit.origin
    )
    return Json(DeletedDocument(id=gone.document_id))
