"""What foreign publishers write to an ingress stream becomes the platform's own commands."""

from dataclasses import dataclass

from archive_blobs import BlobRef, BlobRefInvalid, Blobs
from archive_bus import Bus, Delivery, Origin, Reject
from archive_contracts.base import Problem
from archive_contracts.documents import FetchDocument, IngestDocument, IngestFromOutside, document_id
from archive_contracts.jobs import JobQueued
from archive_contracts.streams import DOCUMENT_COMMANDS, INGRESS, JOBS_JOURNAL
from archive_gateway.domain.identity import file_name, ingress_job_id
from archive_telemetry import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingress:
    """Takes documents from outside.

    Tenant and ids are fixed here; what else a foreign envelope claims (tenant, deadline, an address to reply to)
    goes no further. The same message delivered twice is one job, one command and one document.
    """

    bus: Bus
    blobs: Blobs
    tenant: str
    stream: str = INGRESS.name

    async def ingest(self, delivery: Delivery[IngestFromOutside]) -> None:
        """Queue what came: content once it is stored, an address to be fetched by the librarian."""
        job = ingress_job_id(self.stream, delivery.envelope.id)
        command, queued = await self._accepted(delivery.message, job)
        origin = Origin(
            tenant=self.tenant,
            correlation=job,
            causation=delivery.envelope.id,
            traceparent=delivery.origin.traceparent,
            tracestate=delivery.origin.tracestate,
        )
        await self.bus.append(queued, to=JOBS_JOURNAL, entity=job, origin=origin, id=delivery.derived_id(queued))
        await self.bus.publish(command, to=DOCUMENT_COMMANDS, origin=origin, id=delivery.derived_id(command))
        log.info("taken in", job=job, document=queued.document_id, filename=queued.filename)

    async def refuse(self, delivery: Delivery[IngestFromOutside]) -> None:
        """Let nothing of this type in."""
        raise _refused(
            f"{delivery.envelope.type} is not let in at {self.stream}",
            "Open the door for it by 'archive ingress create'.",
            code="type_not_allowed",
        )

    async def _accepted(self, message: IngestFromOutside, job: str) -> tuple[IngestDocument | FetchDocument, JobQueued]:
        """Return what is to be done, and how its job begins. Raises Reject."""
        given = [name for name in ("text", "blob", "url") if getattr(message, name) is not None]
        if len(given) != 1:
            raise _refused("exactly one of text, blob and url is needed", "Send one of them.", code="invalid_request")
        if message.url is not None:
            if not message.url.startswith(("http://", "https://")):
                raise _refused("the url is none of the web", "Begin it with https://.", code="bad_address")
            queued = JobQueued(job_id=job, kind="ingest", filename=message.url, tenant=self.tenant)
            return FetchDocument(job_id=job, url=message.url, origin="ingress"), queued
        ref = await self._stored(message)
        document = document_id(self.tenant, ref.sha256)
        filename = file_name(message.filename, fallback=f"{job[:8]}.txt")
        queued = JobQueued(job_id=job, kind="ingest", document_id=document, filename=filename, tenant=self.tenant)
        command = IngestDocument(
            job_id=job, document_id=document, blob=str(ref), filename=filename, size=ref.size, origin="ingress"
        )
        return command, queued

    async def _stored(self, message: IngestFromOutside) -> BlobRef:
        if message.blob is not None:
            return await self._existing(message.blob)
        text = message.text or ""
        if not text.strip():
            raise _refused("the text is empty", "Send its content.", code="empty_file")
        return await self.blobs.put(text.encode("utf-8", "replace"))

    async def _existing(self, text: str) -> BlobRef:
        try:
            ref = BlobRef.parse(text)
        except BlobRefInvalid as error:
            raise _refused(error.message, error.next_step, code=error.code) from None
        if not await self.blobs.exists(ref):
            raise _refused(f"{ref} is not in the store", "Store the content first.", code="blob_missing", status=404)
        return ref


def _refused(message: str, next_step: str, *, code: str, status: int = 400) -> Reject:
    return Reject(Problem(code=code, message=message, next_step=next_step, status=status))
