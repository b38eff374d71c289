"""Which pools have living workers, and which lanes those left behind who are gone."""

from collections.abc import Sequence
from dataclasses import dataclass

from archive_contracts.engine import EngineLeft, EngineRegistered
from archive_contracts.streams import ENGINE_JOBS
from archive_engine.domain.peers import ABANDONED_S, MISSED_BEATS


@dataclass(slots=True)
class _Worker:
    pool: str
    seen: float
    heartbeat_s: float
    directed: bool
    left: bool = False

    def lives(self, now: float) -> bool:
        return not self.left and now - self.seen <= self.heartbeat_s * MISSED_BEATS


class Pools:
    """A fold of all engines' events. Times are seconds since the epoch, by the server's clock."""

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}

    def hear(self, event: EngineRegistered | EngineLeft, *, at: float) -> None:
        """Take in one event, and forget who has been gone for long."""
        if isinstance(event, EngineRegistered):
            self._workers[event.worker] = _Worker(event.pool, at, event.heartbeat_s, event.directed)
        elif known := self._workers.get(event.worker):
            known.seen, known.left = at, True
        for name, worker in list(self._workers.items()):
            if at - worker.seen > ABANDONED_S:
                del self._workers[name]

    def living(self, now: float) -> frozenset[str]:
        """Return the pools with a living worker, healthy or not."""
        return frozenset(worker.pool for worker in self._workers.values() if worker.lives(now))

    def lanes(self, pool: str) -> Sequence[str]:
        """Return the partitions on which jobs for a pool may lie: its own, and those of its workers."""
        shared = [ENGINE_JOBS.lane(pool, priority) for priority in ENGINE_JOBS.priorities]
        own = [f"{pool}:{name}" for name, worker in self._workers.items() if worker.pool == pool and worker.directed]
        return [*shared, *sorted(own)]
