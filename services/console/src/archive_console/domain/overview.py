"""The state of the system in a few numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from archive_contracts.engine import EngineRegistered


class Group(Protocol):
    """What is needed of a consumer group."""

    @property
    def name(self) -> str: ...
    @property
    def lag(self) -> int | None: ...
    @property
    def pending(self) -> int: ...
    @property
    def consumers(self) -> int: ...
    @property
    def dead(self) -> int: ...


class Report(Protocol):
    """What is needed of a stream."""

    @property
    def stream(self) -> str: ...
    @property
    def partition(self) -> str: ...
    @property
    def groups(self) -> Sequence[Group]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, as its consumer groups tell: ``lag`` is unread, ``pending`` read and not settled."""

    name: str
    consumers: int
    lag: int
    pending: int
    dead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A pool of engines: what waits for it, and what it can do at once."""

    pool: str
    waiting: int
    slots: int
    busy: int
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The state of the system."""

    services: tuple[Service, ...]
    lanes: tuple[Lane, ...]
    lag: int
    pending: int
    dead: int


def overview(reports: Sequence[Report], workers: Sequence[EngineRegistered]) -> Overview:
    """Return the state that the streams and the engines' heartbeats tell."""
    groups = [(report, group) for report in reports for group in report.groups]
    names = sorted({group.name for _, group in groups})
    services = tuple(_service(name, [group for _, group in groups if group.name == name]) for name in names)
    return Overview(
        services=services,
        lanes=_lanes(reports, workers),
        lag=sum(service.lag for service in services),
        pending=sum(service.pending for service in services),
        dead=sum(service.dead for service in services),
    )


def _service(name: str, groups: Sequence[Group]) -> Service:
    return Service(
        name=name,
        consumers=max(group.consumers for group in groups),
        lag=sum(group.lag or 0 for group in groups),
        pending=sum(group.pending for group in groups),
        dead=sum(group.dead for group in groups),
    )


def _lanes(reports: Sequence[Report], workers: Sequence[EngineRegistered]) -> tuple[Lane, ...]:
    waiting = {
        report.partition: sum((group.lag or 0) + group.pending for group in report.groups)
        for report in reports
        if report.stream == "engine.jobs"
    }
    pools = sorted({worker.pool for worker in workers} | {name for name, jobs in waiting.items() if jobs})
    return tuple(
        Lane(
            pool=pool,
            waiting=waiting.get(pool, 0),
            slots=sum(worker.slots for worker in workers if worker.pool == pool),
            busy=sum(worker.busy for worker in workers if worker.pool == pool),
            workers=sum(worker.pool == pool for worker in workers),
        )
        for pool in pools
    )
