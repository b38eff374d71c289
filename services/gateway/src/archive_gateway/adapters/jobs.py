"""The list of jobs, fed by the broadcast of those that were accepted."""

from collections.abc import Sequence

from archive_bus import Bus
from archive_contracts.jobs import JobQueued
from archive_contracts.streams import JOBS_JOURNAL, JOBS_QUEUED
from archive_gateway.domain.job_list import JobList


class JobFollower:
    """Follows accepted jobs, from as long ago as their journals are kept."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._list = JobList()

    async def follow(self) -> None:
        """Keep the list up to date until cancelled."""
        async for received in self._bus.follow(JOBS_QUEUED, since=JOBS_JOURNAL.retention):
            if received and isinstance(received.message, JobQueued):
                self._list.hear(received.message, tenant=received.envelope.tenant)

    def page(self, tenant: str, *, limit: int, offset: int) -> tuple[Sequence[str], int]:
        """Return the ids of a part of a tenant's jobs, newest first, and how many there are in all."""
        return self._list.page(tenant, limit=limit, offset=offset)
