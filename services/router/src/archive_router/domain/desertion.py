"""Lanes that nobody can clear any more: no engine worker lives in any pool."""

from collections.abc import Collection
from dataclasses import dataclass, field

from archive_contracts.engine import EngineRegistered
from archive_contracts.streams import ENGINE_JOBS

PATIENCE_S = 10.0
"""How long nobody may live before callers are told: workers that only restart are back by then."""
LEASE_S = ENGINE_JOBS.lease.total_seconds()
"""How long nothing may have been heard: whatever still ran has lost its job by then, however often workers beat."""
ABANDONED_S = 300.0
"""A worker that was silent for longer left nothing that is still within its deadline."""


@dataclass(slots=True)
class Desertion:
    """A fold of the engines' heartbeats, for the moment when they stop. Times are seconds on a steady clock."""

    _workers: dict[str, tuple[str, bool, float]] = field(default_factory=dict[str, tuple[str, bool, float]])
    _heard: float = 0.0
    _since: float | None = None
    _told: bool = False

    def hear(self, beat: EngineRegistered, *, now: float) -> None:
        """Take in that a worker lives."""
        if beat.worker not in self._workers:
            self._workers = {name: known for name, known in self._workers.items() if now - known[2] <= ABANDONED_S}
        self._workers[beat.worker] = (beat.pool, beat.directed, now)
        self._heard = now

    def deaf_until(self, now: float) -> None:
        """Take in that nobody could be heard: who was silent until now may live."""
        self._since, self._heard = None, now

    def untold(self) -> None:
        """Take in that not all callers could be told: they are to be told anew."""
        self._told = False

    def lanes(self, now: float, *, anybody: bool, asleep: Collection[str]) -> list[str]:
        """Return the partitions whose jobs nobody will take, once for each time that the last worker has gone.

        ``anybody`` says whether a worker lives: then it clears them. Pools that are ``asleep`` keep their jobs until a
        worker comes.
        """
        if anybody:
            self._since, self._told = None, False
            return []
        self._since = now if self._since is None else self._since
        if self._told or now - self._since < PATIENCE_S or now - self._heard < LEASE_S:
            return []
        self._told = True
        recent = [(name, *known) for name, known in self._workers.items() if now - known[2] <= ABANDONED_S]
        left = [(name, pool, directed) for name, pool, directed, _ in recent if pool not in asleep]
        shared = {ENGINE_JOBS.lane(pool, priority) for _, pool, _ in left for priority in ENGINE_JOBS.priorities}
        return sorted(shared | {f"{pool}:{name}" for name, pool, directed in left if directed})
