"""The history of the figures: /metrics?hours=, /metrics/current, /metrics/record, as Archive-AI's page reads them."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from archive_gateway.domain.history import MOST_HOURS, Sample, Summary, joined, summed_up
from archive_gateway.routes.answers import Json
from archive_gateway.routes.compat.monitor import metrics
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit

LONGEST_S = 86_400.0


class MetricsQuery(BaseModel):
    """Which figures: with `hours` those of the past, without it those of this moment."""

    hours: Annotated[
        int | None,
        Field(description=f"1 to {MOST_HOURS}; what lies outside means the nearest of them. For operators."),
    ] = None


class RecordQuery(BaseModel):
    """A request that somebody else has served."""

    latency: Annotated[float, Field(ge=0, le=LONGEST_S, description="In seconds.")]
    success: bool = True


class MetricsSample(BaseModel):
    """Thirty seconds: how busy the machine was at their end, and which requests for models ended in them.

    `avg_latency` is in seconds, `error_rate` in percent. There is one kind of engine here: `goblin_status` is unknown.
    """

    timestamp: float
    cpu_percent: float
    memory_mb: float
    memory_percent: float
    gpu_memory_used_mb: float | None = None
    gpu_memory_total_mb: float | None = None
    gpu_memory_percent: float | None = None
    request_count: int
    avg_latency: float
    error_rate: float
    vorpal_status: Literal["healthy", "unhealthy"]
    goblin_status: Literal["unknown"] = "unknown"
    redis_status: Literal["healthy"] = "healthy"
    vorpal_tps: float
    goblin_tps: float | None = None


class MetricsSummary(BaseModel):
    """The whole time: memory in MB, latency in seconds, errors in percent."""

    avg_cpu: float
    max_cpu: float
    avg_memory: float
    max_memory: float
    total_requests: int
    avg_latency: float
    error_rate: float


class MetricsHistory(BaseModel):
    """Samples of all gateways, oldest first, and what they say together."""

    metrics: list[MetricsSample]
    time_range: str
    summary: MetricsSummary


class Recorded(BaseModel):
    """It was counted."""

    status: Literal["recorded"] = "recorded"


class Cleared(BaseModel):
    """Nothing is left of the past."""

    status: Literal["cleared"] = "cleared"


async def metrics_by_time(desk: Desk, visit: Visit) -> ASGIApp:
    """Give the figures of this moment, or of the last hours."""
    # The original tells the two apart by a slash at the end of the path, which means nothing here.
    wanted = visit.query(MetricsQuery).hours
    if wanted is None:
        return await metrics(desk, visit)
    # What all tenants together have asked for, as everybody's usage.
    visit.ticket.caller.demand("operator")
    hours = min(max(wanted, 1), MOST_HOURS)
    # Beside the event loop: thousands of samples are written down while streams go on.
    return await asyncio.to_thread(_history, await desk.history.read(hours), hours)


async def current_metrics(desk: Desk, visit: Visit) -> ASGIApp:
    """Give the sample in the making of this gateway."""
    return Json(_told(desk.history.now()))


async def record_metrics(desk: Desk, visit: Visit) -> ASGIApp:
    """Count a request that somebody else has served."""
    told = visit.query(RecordQuery)
    desk.metering.traffic.note(told.latency, ok=told.success)
    return Json(Recorded())


async def clear_metrics(desk: Desk, visit: Visit) -> ASGIApp:
    """Forget the figures of the past."""
    await desk.history.clear()
    return Json(Cleared())


def _history(taken: Sequence[Sample], hours: int) -> Json:
    samples = joined(taken)
    return Json(
        MetricsHistory(
            metrics=[_told(sample) for sample in samples],
            time_range=f"{hours}h",
            summary=_summary(summed_up(samples)),
        )
    )


def _told(sample: Sample) -> MetricsSample:
    traffic = sample.traffic
    return MetricsSample(
        timestamp=sample.at,
        cpu_percent=sample.cpu_percent,
        memory_mb=sample.memory_mb,
        memory_percent=sample.memory_percent,
        request_count=traffic.requests,
        avg_latency=round(traffic.mean_s, 6),
        error_rate=round(traffic.failed_percent, 3),
        vorpal_status="healthy" if sample.engines else "unhealthy",
        vorpal_tps=round(traffic.tokens / sample.span_s, 1) if sample.span_s else 0.0,
    )


def _summary(found: Summary) -> MetricsSummary:
    return MetricsSummary(
        avg_cpu=round(found.avg_cpu, 3),
        max_cpu=found.max_cpu,
        avg_memory=round(found.avg_memory, 3),
        max_memory=found.max_memory,
        total_requests=found.total_requests,
        avg_latency=round(found.avg_latency, 6),
        error_rate=round(found.error_rate, 3),
    )
