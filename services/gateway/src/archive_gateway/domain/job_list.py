"""Which jobs a tenant has, newest first."""

from collections import Counter, OrderedDict
from collections.abc import Sequence

from archive_contracts.jobs import JobQueued

MOST = 10_000
"""Jobs that are remembered, of all tenants; the oldest are forgotten."""


class JobList:
    """A fold of accepted jobs: their ids alone, for what became of them is told by their journals."""

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._tenants: OrderedDict[str, str] = OrderedDict()
        self._counts: Counter[str] = Counter()

    def hear(self, job: JobQueued, *, tenant: str) -> None:
        """Take in a job; one that is told twice keeps its place."""
        if job.job_id in self._tenants:
            return
        self._tenants[job.job_id] = tenant
        self._counts[tenant] += 1
        if len(self._tenants) > self._most:
            _, whose = self._tenants.popitem(last=False)
            self._counts[whose] -= 1

    def page(self, tenant: str, *, limit: int, offset: int) -> tuple[Sequence[str], int]:
        """Return the ids of a part of a tenant's jobs, and how many there are in all."""
        own = [job for job, whose in reversed(self._tenants.items()) if whose == tenant]
        return own[offset : offset + limit], self._counts[tenant]
