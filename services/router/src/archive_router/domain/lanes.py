"""What is known of the lanes: a fold of the engines' heartbeats."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from archive_contracts.chat import Capability
from archive_contracts.engine import EngineLeft, EngineRegistered

MISSED_BEATS = 3
"""Heartbeats that may be missing before a worker counts as gone."""


@dataclass(frozen=True, slots=True)
class LaneView:
    """A pool as its living workers describe it."""

    pool: str
    workers: tuple[EngineRegistered, ...]

    @property
    def healthy(self) -> tuple[EngineRegistered, ...]:
        """Workers whose engine answers."""
        return tuple(worker for worker in self.workers if worker.healthy)

    @property
    def described_by(self) -> tuple[EngineRegistered, ...]:
        """Workers that say what the lane can do: the healthy ones, and all of them while none is."""
        return self.healthy or self.workers

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What every request to the lane can rely on, whichever worker takes it."""
        first, *rest = self.described_by
        return frozenset(name for name in first.capabilities if all(name in worker.capabilities for worker in rest))

    @property
    def models(self) -> tuple[str, ...]:
        """Models that every worker serves, in the order of the first."""
        first, *rest = self.described_by
        shared = [{card.id for card in worker.models} for worker in rest]
        return tuple(card.id for card in first.models if all(card.id in models for models in shared))

    @property
    def context(self) -> int:
        """Tokens that fit into the smallest of its models; 0 when no worker says."""
        known = [card.context for worker in self.described_by for card in worker.models if card.context]
        return min(known, default=0)

    @property
    def load(self) -> float:
        """Share of the healthy slots in use."""
        slots = sum(worker.slots for worker in self.healthy)
        return sum(worker.busy for worker in self.healthy) / slots if slots else 1.0


class Lanes:
    """The living workers by pool. Times are seconds on any clock that does not go back."""

    def __init__(self) -> None:
        self._workers: dict[str, tuple[EngineRegistered, float]] = {}

    def hear(self, event: EngineRegistered | EngineLeft, *, now: float) -> None:
        """Take in one event."""
        if isinstance(event, EngineLeft):
            self._workers.pop(event.worker, None)
            return
        if not event.models and event.worker in self._workers:
            # A server that is away cannot say what it serves; its models must not look as if they had never been.
            event = event.model_copy(update={"models": self._workers[event.worker][0].models})
        self._workers[event.worker] = (event, now)

    def at(self, now: float) -> Iterator[LaneView]:
        """Yield the lanes that have a living worker."""
        pools: dict[str, list[EngineRegistered]] = {}
        for worker, seen in self._workers.values():
            if now - seen <= worker.heartbeat_s * MISSED_BEATS:
                pools.setdefault(worker.pool, []).append(worker)
        for pool, workers in sorted(pools.items()):
            yield LaneView(pool, tuple(sorted(workers, key=lambda worker: worker.worker)))

    def forget(self, now: float) -> None:
        """Drop workers that have been silent for long."""
        for name in [name for name, (worker, seen) in self._workers.items() if now - seen > worker.heartbeat_s * 20]:
            del self._workers[name]


def serving(lanes: Iterable[LaneView], model: str) -> list[LaneView]:
    """Return the lanes that a model name means: those serving it, or the pool of that name."""
    lanes = list(lanes)
    return [lane for lane in lanes if model in lane.models] or [lane for lane in lanes if lane.pool == model]
