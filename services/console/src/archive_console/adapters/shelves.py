"""What each library holds, as it was seen last: a page that names documents is shown without asking anybody."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from archive_bus import Bus, BusError, Origin
from archive_contracts.documents import DocumentInfo
from archive_contracts.memory import DocumentsFound, ListDocuments
from archive_contracts.streams import MEMORY_QUERIES
from archive_telemetry import get_logger

log = get_logger(__name__)

PATIENCE_S = 3.0
FRESH_S = 1.0
TENANTS = 1000
NAMES = 20_000
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""After each try, at a start, to learn what the first page shows; then people have to come by."""


class Shelves:
    """Remembers the latest documents of the tenants whose pages were shown, and names of any that were seen.

    ``clock`` is in seconds and does not go back; ``most`` documents of a tenant are offered.
    """

    def __init__(self, bus: Bus, *, clock: Callable[[], float], most: int) -> None:
        self._bus = bus
        self._clock = clock
        self._most = most
        self._tasks: asyncio.TaskGroup | None = None
        self._latest: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._names: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._asked: dict[str, float] = {}

    async def begin(self, tenant: str, tasks: asyncio.TaskGroup) -> None:
        """Work in this group from now on, and learn what a tenant has while nobody waits for it.

        An empty library is looked at again: after an installation the first documents come at about this time.
        """
        self._tasks = tasks
        for pause_s in PAUSES_S:
            if self._latest.get(tenant):
                return
            await self._look(tenant)
            await asyncio.sleep(pause_s)

    def seen(self, tenant: str) -> Mapping[str, str] | None:
        """Return names of documents that can be asked about by their ids, the latest first, as they were seen last.

        They are looked at anew meanwhile, for the next page. None: nobody has seen them yet.
        """
        now = self._clock()
        if self._tasks and now - self._asked.get(tenant, -FRESH_S) >= FRESH_S:
            self._asked = {name: at for name, at in self._asked.items() if now - at < FRESH_S} | {tenant: now}
            self._tasks.create_task(self._look(tenant))
        latest = self._latest.get(tenant)
        return None if latest is None else self.names(tenant, latest)

    def names(self, tenant: str, ids: Iterable[str]) -> Mapping[str, str]:
        """Return the names of those documents that were seen, by their ids."""
        return {name: self._names[tenant, name] for name in ids if (tenant, name) in self._names}

    def note(self, tenant: str, found: Iterable[DocumentInfo], *, latest: bool) -> None:
        """Remember what was listed; ``latest``: it is what stands first in the catalogue."""
        documents = [info for info in found if info.status in {"ready", "partial"}]
        for info in documents:
            self._names[tenant, info.id] = info.filename
            self._names.move_to_end((tenant, info.id))
        if latest:
            self._latest[tenant] = tuple(info.id for info in documents[: self._most])
            self._latest.move_to_end(tenant)
        while len(self._names) > NAMES:
            self._names.popitem(last=False)
        while len(self._latest) > TENANTS:
            self._latest.popitem(last=False)

    async def _look(self, tenant: str) -> None:
        wanted, origin = ListDocuments(limit=self._most), Origin(tenant=tenant)
        try:
            found = await self._bus.request(
                wanted, DocumentsFound, to=MEMORY_QUERIES, origin=origin, timeout=PATIENCE_S
            )
        except BusError:
            return
        except Exception as error:  # the edge of a task of the console's own: a look that fails must not end it
            log.warning("a look at a library failed", tenant=tenant, exc_info=error)
            return
        self.note(tenant, found.documents, latest=True)
