"""GET /metrics: the figures of the machine, the memory and the services, as Archive-AI's page reads them."""

import time
from importlib.metadata import version
from typing import Literal

from pydantic import BaseModel
from starlette.types import ASGIApp

from archive_bus import BusError
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import MEMORY_QUERIES
from archive_gateway.domain.errors import GatewayError
from archive_gateway.routes.answers import Json
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit

MEMORY_S = 2.0
THRESHOLD = 0.7
"""The original's threshold of surprise."""


class SystemFigures(BaseModel):
    """The machine. A GPU belongs to an engine's machine, which may be another: null here."""

    cpu_percent: float
    memory_percent: float
    memory_used_mb: float
    memory_total_mb: float
    gpu_percent: float | None = None
    gpu_memory_percent: float | None = None
    gpu_memory_used_mb: float | None = None
    gpu_memory_total_mb: float | None = None
    tokens_per_sec: float
    device: str = "cpu"
    loading_status: Literal["ready", "loading"]


class MemoryFigures(BaseModel):
    """What is remembered; null when memory does not answer."""

    total_memories: int | None
    storage_threshold: float = THRESHOLD
    embedding_dim: int = 384
    index_type: str = "HNSW"


class ServiceFigures(BaseModel):
    """One engine, and whether it answers."""

    name: str
    status: Literal["healthy", "unhealthy"]
    url: str


class SystemMetrics(BaseModel):
    """Everything at once."""

    uptime_seconds: float
    system: SystemFigures
    memory_stats: MemoryFigures
    services: list[ServiceFigures]
    version: str


async def metrics(desk: Desk, visit: Visit) -> ASGIApp:
    """Give the figures of the machine, the memory and the engines."""
    machine, members = desk.figures.machine(), desk.engines.members()
    return Json(
        SystemMetrics(
            uptime_seconds=round(time.monotonic() - desk.began, 1),
            system=SystemFigures(
                cpu_percent=machine.cpu_percent,
                memory_percent=machine.memory_percent,
                memory_used_mb=machine.memory_used_mb,
                memory_total_mb=machine.memory_total_mb,
                tokens_per_sec=desk.metering.tokens_a_second(),
                loading_status="ready" if any(member.worker.healthy for member in members) else "loading",
            ),
            memory_stats=MemoryFigures(total_memories=await _memories(desk, visit)),
            services=[
                ServiceFigures(
                    name=member.worker.engine,
                    status="healthy" if member.worker.healthy else "unhealthy",
                    url=member.worker.base_url,
                )
                for member in members
            ],
            version=version("archive-gateway"),
        )
    )


async def _memories(desk: Desk, visit: Visit) -> int | None:
    try:
        stats = await desk.asking.ask(
            GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES, origin=visit.origin, timeout=MEMORY_S
        )
    except (BusError, GatewayError):
        return None
    return stats.memories
