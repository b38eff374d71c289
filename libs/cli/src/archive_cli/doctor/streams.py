"""Judges streams and groups: all that the map names are there, read, and not far behind."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from archive_bus import GroupReport, StreamReport
from archive_cli.doctor.finding import Finding, failure, ok, warning
from archive_contracts.streams import at

BEHIND, BEHIND_S = 1000, 300.0
SILENT_S = 120.0
ALONE = frozenset({"memory"})
"""Services that keep what they are told in a volume of their own: one process owns all of a group's messages."""
Found = tuple[StreamReport, GroupReport]


def judge_streams(
    reports: Sequence[StreamReport], expected: Collection[tuple[str, str]], processes: Mapping[str, int]
) -> Iterator[Finding]:
    """Judge what the bus holds.

    ``expected`` are the (key, group) that there must be, ``processes`` says how many of each service are connected.
    """
    found = [(report, group) for report in reports for group in report.groups]
    names = {(report.key, group.name) for report, group in found}
    missing = [f"{key} {group}" for key, group in expected if (key, group) not in names]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        yield failure(
            "groups",
            f"missing: {', '.join(missing[:3])}{more}",
            "`archive bootstrap` creates them; the services do so too when they start",
        )
    else:
        yield ok("groups", f"all {len(expected)} groups of the map are there")
    for report, group in found:
        if not _served(report, group) and (group.name, group.lag, group.pending) != (group.name, 0, 0):
            yield warning(
                "groups",
                f"{report.key} {group.name}: the map names no such group, and it holds back what it has not handled",
                f"`archive groups drop {report.stream} {group.name}`",
            )
    yield from _owners(found, processes)
    yield from _lag([(report, group) for report, group in found if _served(report, group)])
    yield from _dead([group for _, group in found])


def _owners(found: Sequence[Found], processes: Mapping[str, int]) -> Iterator[Finding]:
    """Two processes on one volume stop each other; on volumes of their own each gets a part, and nothing says so.

    Redis 7.0 counts a consumer that asks in vain as idle, and managed servers list no clients: either tells.
    """
    for service in sorted(ALONE):
        at_once = {report.key: group.awake for report, group in found if group.name == service}
        most = max(processes.get(service, 0), *at_once.values(), 0)
        if most > 1:
            keys = ", ".join(at_once)
            yield failure(
                "owners",
                f"{most} processes own {service}'s partition (they read {keys}): each knows only what it was given",
                f"end all but the one whose volume is to stay (`kubectl scale statefulset {service} --replicas=1`) and "
                "upload again what the others took; if one has just died, look again in a few seconds",
            )
        elif most:
            yield ok("owners", f"one process owns {service}'s partition")


def _served(report: StreamReport, group: GroupReport) -> bool:
    return group.name in at(report.key)[0].consumers


def _lag(found: Sequence[Found]) -> Iterator[Finding]:
    faults = [fault for report, group in found if (fault := _fault(report, group))]
    yield from faults
    if not faults:
        waiting = sum((group.lag or 0) + group.pending for _, group in found)
        yield ok("lag", f"{waiting} messages wait or are worked on, none for long")


def _fault(report: StreamReport, group: GroupReport) -> Finding | None:
    name, lag, oldest = f"{report.key} {group.name}", group.lag, group.oldest_s or 0.0
    silent = group.seen_s is None or group.seen_s > SILENT_S
    if oldest > SILENT_S and silent and (lag is None or lag > 0):
        return failure(
            "lag",
            f"{name}: work waits for {oldest:.0f} s and nobody takes it",
            f"is {group.name} running and ready? `archive status`, `archive logs {group.name}`",
        )
    if lag is None:
        return warning(
            "lag",
            f"{name}: the server cannot tell how much is unread",
            "it can again when the group has read on; no action, unless it stays",
        )
    if lag > BEHIND or oldest > BEHIND_S:
        return warning("lag", f"{name}: {lag} unread, the oldest for {oldest:.0f} s", f"more replicas of {group.name}")
    return None


def _dead(groups: Sequence[GroupReport]) -> Iterator[Finding]:
    dead = Counter({group.name: 0 for group in groups})
    for group in groups:
        dead[group.name] += group.dead
    told = ", ".join(f"{name} {count}" for name, count in dead.most_common() if count)
    yield (
        warning("dead letters", told, "`archive dead list` shows the causes; then `archive dead replay` or `drop`")
        if told
        else ok("dead letters", "none")
    )
