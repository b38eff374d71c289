"""The engines and their models, as their heartbeats tell."""

from collections.abc import Callable
from datetime import timedelta

from archive_bus import Bus
from archive_console.domain.engines import chatting
from archive_console.domain.rates import Gauge, Rates
from archive_contracts.engine import EVERY_ENGINE, EngineLeft, EngineRegistered, EngineRegistry, EngineSpec
from archive_contracts.streams import ENGINE_EVENTS, ENGINE_REGISTRY

BACKLOG = timedelta(seconds=10)
MISSED_BEATS = 3


class EngineWatch:
    """Follows the heartbeats. ``clock`` is in seconds and does not go back."""

    def __init__(self, bus: Bus, *, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._clock = clock
        self._workers: dict[str, tuple[EngineRegistered, float]] = {}
        self._gauge = Gauge()

    async def follow(self) -> None:
        """Keep the view up to date until cancelled."""
        async for received in self._bus.follow(ENGINE_EVENTS, since=BACKLOG):
            match received.message if received else None:
                case EngineRegistered() as worker:
                    self._workers[worker.worker] = (worker, self._clock())
                    self._gauge.hear(worker, self._clock())
                case EngineLeft(worker=name):
                    self._workers.pop(name, None)
                    self._gauge.forget(name)
                case _:
                    self._forget()

    def workers(self) -> list[EngineRegistered]:
        """Return the living workers by pool and name."""
        self._forget()
        return sorted((worker for worker, _ in self._workers.values()), key=lambda worker: (worker.pool, worker.worker))

    def models(self) -> list[str]:
        """Return the models that can chat."""
        found = {card.id for worker in chatting(self.workers()) for card in worker.models}
        return sorted(found)

    def rates(self) -> Rates:
        """Return how fast the living workers write, and how often they fail."""
        self._forget()
        return self._gauge.rates()

    async def registered(self) -> list[EngineSpec]:
        """Return the engines that were added by hand. Raises BusError."""
        received = await self._bus.journal(ENGINE_REGISTRY, EVERY_ENGINE)
        specs = EngineRegistry(entry.message for entry in received).specs
        return [specs[name] for name in sorted(specs)]

    def _forget(self) -> None:
        now = self._clock()
        for name, (worker, seen) in tuple(self._workers.items()):
            if now - seen > worker.heartbeat_s * MISSED_BEATS:
                del self._workers[name]
                self._gauge.forget(name)
