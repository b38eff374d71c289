"""From a claimed file of the watched folder to a job."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio

from archive_blobs import BlobError, Blobs
from archive_bus import Bus, BusError, Origin
from archive_contracts.documents import IngestDocument, document_id
from archive_contracts.jobs import JobEvent, JobQueued, fold
from archive_contracts.streams import DOCUMENT_COMMANDS, JOBS_JOURNAL
from archive_librarian.adapters.watch import Claim
from archive_librarian.domain.watching import Failed, Later, Outcome, outcome_of

READ_BYTES = 1 << 20
PATIENCE_S = 5.0


class Dropbox:
    """Stores claimed files and starts their jobs. Ids come from the claim, so that a second submit adds nothing."""

    def __init__(self, bus: Bus, blobs: Blobs, *, tenant: str) -> None:
        self._bus = bus
        self._blobs = blobs
        self._origin = Origin(tenant=tenant)

    async def submit(self, claim: Claim) -> Outcome | None:
        """Start the job of a claimed file; None when it is on its way."""
        try:
            ref = await self._blobs.put(_chunks(claim.path))
            if not ref.size:
                return Failed("empty_document", "The file is empty.", "Check the program that wrote it.")
            command = IngestDocument(
                job_id=claim.job,
                document_id=document_id(self._origin.tenant, ref.sha256),
                blob=str(ref),
                filename=claim.name.name,
                size=ref.size,
                origin="folder",
            )
            queued = JobQueued(
                job_id=claim.job,
                kind="ingest",
                document_id=command.document_id,
                filename=command.filename,
                tenant=self._origin.tenant,
            )
            await self._bus.append(
                queued,
                to=JOBS_JOURNAL,
                entity=claim.job,
                origin=self._origin,
                id=_derived(claim.job, "queued"),
                timeout=PATIENCE_S,
            )
            await self._bus.publish(
                command,
                to=DOCUMENT_COMMANDS,
                origin=self._origin,
                id=_derived(claim.job, "ingest"),
                timeout=PATIENCE_S,
            )
        except (BlobError, BusError):
            return Later()
        return None

    async def outcome(self, job: str) -> Outcome | None:
        """Return what became of a job; None while it runs, or when the bus cannot tell."""
        try:
            entries = await self._bus.journal(JOBS_JOURNAL, job)
        except BusError:
            return None
        return outcome_of(fold(job, [entry.message for entry in entries if isinstance(entry.message, JobEvent)]))


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(READ_BYTES):
            yield chunk


def _derived(job: str, what: str) -> str:
    return hashlib.blake2b(f"{job}\n{what}".encode(), digest_size=16).hexdigest()
