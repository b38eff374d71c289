"""Grafana dashboards as code: how the system stands, and one row of panels for each stream that has a group."""

from collections.abc import Iterator, Sequence

from archive_contracts.deploy.yaml import Json
from archive_contracts.streams import STREAMS, Kind, Server, Stream

SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 8, 7

Query = tuple[str, str]
"""A PromQL expression, and what each of its series is called."""

OVERVIEW: tuple[tuple[str, str, tuple[Query, ...]], ...] = (
    ("Requests by status", "reqps", (("sum by (status) (rate(archive_gateway_requests_total[5m]))", "{{status}}"),)),
    (
        "Time to answer",
        "s",
        tuple(
            (
                f"histogram_quantile({share}, sum by (le) (rate(archive_gateway_request_seconds_bucket[5m])))",
                f"p{share * 100:.0f}",
            )
            for share in (0.5, 0.95, 0.99)
        ),
    ),
    (
        "Messages by outcome",
        "short",
        (("sum by (outcome) (rate(archive_bus_messages_total[5m]))", "{{outcome}}"),),
    ),
    (
        "Unread by service",
        "short",
        (("sum by (service) (max by (service, stream, partition) (archive_bus_lag))", "{{service}}"),),
    ),
    (
        "Time in handlers, p95",
        "s",
        (
            (
                "histogram_quantile(0.95, sum by (service, le) (rate(archive_bus_handler_seconds_bucket[5m])))",
                "{{service}}",
            ),
        ),
    ),
    ("Delivered again", "short", (("sum by (service) (rate(archive_bus_redelivered_total[5m]))", "{{service}}"),)),
    ("Oldest unsettled", "s", (("max by (service) (archive_bus_oldest_seconds)", "{{service}}"),)),
    (
        "Dead letters",
        "short",
        (("sum by (service) (max by (service, stream, partition) (archive_bus_dead_letters))", "{{service}}"),),
    ),
    (
        "Memory of the servers",
        "bytes",
        (("redis_memory_used_bytes", "used {{instance}}"), ("redis_memory_max_bytes > 0", "limit {{instance}}")),
    ),
    ("Refused commands", "short", (('rate(redis_errors_total{err="NOPERM"}[5m])', "{{instance}}"),)),
    ("Memory of processes", "bytes", (("process_resident_memory_bytes", "{{job}} {{instance}}"),)),
)


def overview() -> Json:
    """Return the dashboard that an operator looks at first."""
    panels = [_panel(title, unit, queries) for title, unit, queries in OVERVIEW]
    return _dashboard("archive", "Archive-AI", _placed(panels))


def streams() -> Json:
    """Return the dashboard with a row for each stream of the bus that somebody handles."""
    panels: list[Json] = []
    for stream in STREAMS.values():
        if stream.consumers and stream.server is Server.BUS:
            panels += _of_stream(stream)
    return _dashboard("archive-streams", "Archive-AI streams", _placed(panels))


def _of_stream(stream: Stream) -> Iterator[Json]:
    chosen = f'{{stream="{stream.name}"}}'
    each = "service, partition" if stream.kind is Kind.LANE or stream.partitions > 1 else "service"
    name = " ".join(f"{{{{{label}}}}}" for label in each.split(", "))
    yield _panel(
        f"{stream.name}: unread and pending",
        "short",
        (
            (f"max by ({each}) (archive_bus_lag{chosen})", f"unread {name}"),
            (f"max by ({each}) (archive_bus_pending{chosen})", f"pending {name}"),
        ),
    )
    yield _panel(
        f"{stream.name}: oldest unsettled",
        "s",
        ((f"max by ({each}) (archive_bus_oldest_seconds{chosen})", name),),
    )
    yield _panel(
        f"{stream.name}: handled",
        "short",
        ((f"sum by (service, outcome) (rate(archive_bus_messages_total{chosen}[5m]))", "{{service}} {{outcome}}"),),
    )


def _panel(title: str, unit: str, queries: Sequence[Query]) -> Json:
    return {
        "title": title,
        "type": "timeseries",
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": "ABC"[number], "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for number, (expression, legend) in enumerate(queries)
        ],
    }


def _placed(panels: Sequence[Json]) -> list[Json]:
    """Number panels and lay them out, three in a row."""
    return [
        {"id": number + 1, "gridPos": {"x": number % 3 * WIDTH, "y": number // 3 * HEIGHT, "w": WIDTH, "h": HEIGHT}}
        | panel
        for number, panel in enumerate(panels)
    ]


def _dashboard(uid: str, title: str, panels: list[Json]) -> Json:
    return {
        "uid": uid,
        "title": title,
        "tags": ["archive"],
        "schemaVersion": 41,
        "editable": False,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": []},
        "panels": panels,
    }
