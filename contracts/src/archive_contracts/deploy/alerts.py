"""Alert rules for every group of every stream.

Backlogs are those of the Redis exporter, which sees them also where no process of the group lives; dead letters those
that the services tell, since the exporter would have to search the whole server for streams that are seldom there.
"""

from collections.abc import Iterator

from archive_contracts.deploy.yaml import Json
from archive_contracts.streams import STREAMS, Server, Stream

LAG_FOR, STALE_FOR = "10m", "6h"
REFUSED = 'redis_errors_total{err="NOPERM"}'
"""A server counts a kind of error from the first one on, of which an increase would tell nothing."""
_DEAD = "max by (service, stream, partition) ({})"
# More than a quarter of an hour ago; a service that is younger than that is compared with nothing.
MORE_DEAD = (
    f"{_DEAD.format('archive_bus_dead_letters')} > "
    f"({_DEAD.format('max_over_time(archive_bus_dead_letters[10m] offset 15m)')} "
    f"or {_DEAD.format('archive_bus_dead_letters')} * 0)"
)
RUNBOOK = "k8s/README.md"


def rules() -> Json:
    """Return the rule groups, as Prometheus and the operator's PrometheusRule both take them."""
    return {"groups": [{"name": "archive-streams", "rules": list(_rules())}, {"name": "archive", "rules": _general()}]}


def _rules() -> Iterator[Json]:
    for stream in STREAMS.values():
        if stream.server is Server.BUS:
            for group in stream.consumers:
                yield from _of_group(stream, group)


def _of_group(stream: Stream, group: str) -> Iterator[Json]:
    key = stream.physical("X").replace("X}", "")
    chosen = f'stream=~"{_regex(key)}.*}}",group="{group}"'
    labels = {"severity": "warning", "topic": stream.name, "group": group}
    yield _alert(
        "ArchiveBacklogGrows",
        f"max_over_time(redis_stream_group_lag{{{chosen}}}[1m]) > 1000 "
        f"and deriv(redis_stream_group_lag{{{chosen}}}[10m]) > 0",
        summary=f"{group} does not keep up with {stream.name}",
        labels=labels,
        lasting=LAG_FOR,
    )
    stuck = int(stream.lease.total_seconds() * stream.attempts)
    yield _alert(
        "ArchiveWorkStands",
        f"redis_stream_group_lag{{{chosen}}} > 0 and delta(redis_stream_group_last_delivered_id{{{chosen}}}[5m]) == 0",
        summary=f"no {group} takes work from {stream.name}",
        labels=labels | {"severity": "critical"},
        lasting=f"{max(300, stuck)}s",
    )


def _general() -> list[Json]:
    warning, critical = {"severity": "warning"}, {"severity": "critical"}
    return [
        _alert(
            "ArchiveDeadLetters",
            MORE_DEAD,
            summary="{{ $labels.service }} gave up messages of {{ $labels.stream }}",
            labels=warning,
        ),
        # Also of groups that the map no longer names: theirs is the backlog that nobody will ever take.
        _alert(
            "ArchiveStaleGroup",
            "redis_stream_group_lag > 0 and delta(redis_stream_group_last_delivered_id[1h]) == 0",
            summary="{{ $labels.group }} keeps in memory what it has not read for hours: {{ $labels.stream }}",
            labels=warning,
            lasting=STALE_FOR,
        ),
        _alert(
            "ArchiveServerFull",
            "redis_memory_used_bytes / redis_memory_max_bytes > 0.85 and redis_memory_max_bytes > 0",
            summary="a Redis server is nearly full",
            labels=critical,
            lasting="5m",
        ),
        # Nothing is watched where no exporter is: that is no better.
        _alert(
            "ArchiveServerAway",
            "redis_up == 0 or absent(redis_up)",
            summary="a Redis server is away",
            labels=critical,
            lasting="1m",
        ),
        _alert(
            "ArchiveRefusedCommands",
            f"increase({REFUSED}[5m]) > 0 or ({REFUSED} unless {REFUSED} offset 5m) > 0",
            summary="a client asked for more than the access rules give it",
            labels=warning,
        ),
    ]


def _alert(name: str, expr: str, *, summary: str, labels: Json, lasting: str = "") -> Json:
    """Return one rule, which holds after ``lasting``; the runbook has a section of its name."""
    return {
        "alert": name,
        "expr": expr,
        **({"for": lasting} if lasting else {}),
        "labels": labels,
        "annotations": {"summary": summary, "runbook": f"{RUNBOOK}#{name.lower()}"},
    }


def _regex(text: str) -> str:
    """Quote for a regular expression inside a PromQL string."""
    return "".join(f"\\\\{char}" if char in ".{}[]()+*?^$|" else char for char in text)
