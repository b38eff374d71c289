"""The jobs of all tenants, read from their journals on an operator's behalf."""

import asyncio
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from archive_bus import Operator, TailEntry
from archive_console.domain.jobs import EVENTS, JobRecord, Told, newest_first, record
from archive_contracts.streams import JOBS_JOURNAL

FRESH_S = 0.5


class JobBoard:
    """Reads a journal anew only while its job runs: thousands of ended ones cost a look nothing but their names.

    ``clock`` is in seconds and does not go back; what all pages ask within ``FRESH_S`` is read once.
    """

    def __init__(self, operator: Operator, *, clock: Callable[[], float]) -> None:
        self._operator = operator
        self._clock = clock
        self._looking = asyncio.Lock()
        self._ended: dict[str, JobRecord] = {}
        self._seen: list[JobRecord] = []
        self._until = 0.0

    async def records(self) -> list[JobRecord]:
        """Return every job whose journal is kept, the newest first, as it was a moment ago. Raises BusError."""
        async with self._looking:
            if self._clock() >= self._until:
                self._seen = await self._read()
                self._until = self._clock() + FRESH_S
        return self._seen

    async def _read(self) -> list[JobRecord]:
        names = await self._operator.messages.entities(JOBS_JOURNAL)
        ended = {name: self._ended[name] for name in names if name in self._ended}
        read = await self._operator.messages.journals(JOBS_JOURNAL, [name for name in names if name not in ended])
        journals = {name: told(entries) for name, entries in read.items()}
        records = [record(name, entries) for name, entries in journals.items() if entries]
        self._ended = ended | {each.job.id: each for each in records if each.job.ended}
        return newest_first([*records, *ended.values()])

    async def journal(self, job_id: str) -> list[Told]:
        """Return what was told about one job, oldest first; nothing when there is none. Raises BusError."""
        read = await self._operator.messages.journals(JOBS_JOURNAL, [job_id])
        return told(read[job_id])


def told(entries: Sequence[TailEntry]) -> list[Told]:
    """Return the entries of a journal that this version understands."""
    found: list[Told] = []
    for entry in entries:
        kind = EVENTS.get(entry.envelope.type) if entry.envelope else None
        if entry.envelope and kind:
            try:
                event = kind.model_validate_json(entry.envelope.data)
            except ValidationError:
                continue
            found.append(Told(int(entry.id.partition("-")[0]) / 1000, event))
    return found
