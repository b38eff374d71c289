"""The state of the system from its streams and heartbeats."""

from archive_bus import GroupReport, StreamReport
from archive_console.domain.overview import Lane, Service, overview
from archive_contracts.engine import EngineRegistered


def report(stream: str, *groups: GroupReport, partition: str = "0") -> StreamReport:
    return StreamReport(f"{{{stream}:{partition}}}", stream, partition, length=1, oldest_s=None, groups=groups)


def worker(pool: str, name: str, busy: int) -> EngineRegistered:
    return EngineRegistered(worker=name, engine="e", pool=pool, models=(), capabilities=("chat",), slots=2, busy=busy)


def test_groups_become_services() -> None:
    seen = overview(
        [
            report("chat.requests", GroupReport("router", 3, 1, 2, 0, None, None)),
            report("memory.queries", GroupReport("memory", None, 2, 1, 4, None, None)),
            report("chat.events", GroupReport("memory", 5, 0, 3, 1, None, None)),
        ],
        [],
    )
    assert seen.services == (
        Service(name="memory", consumers=3, lag=5, pending=2, dead=5),
        Service(name="router", consumers=2, lag=3, pending=1, dead=0),
    )
    assert (seen.lag, seen.pending, seen.dead) == (8, 3, 5)


def test_lanes_join_backlog_and_workers() -> None:
    reports = [
        report("engine.jobs", GroupReport("engine", None, 4, 1, 0, None, None), partition="small"),
        report("engine.jobs", GroupReport("engine", 6, 0, 0, 0, None, None), partition="orphan"),
        report("engine.jobs", GroupReport("engine", 0, 0, 0, 0, None, None), partition="gone"),
    ]
    seen = overview(reports, [worker("small", "a", 1), worker("small", "b", 2), worker("idle", "c", 0)])
    assert seen.lanes == (
        Lane(pool="idle", waiting=0, slots=2, busy=0, workers=1),
        Lane(pool="orphan", waiting=6, slots=0, busy=0, workers=0),
        Lane(pool="small", waiting=4, slots=4, busy=3, workers=2),
    )


def test_nothing_is_nothing() -> None:
    assert (overview([], []).services, overview([], []).lag) == ((), 0)
