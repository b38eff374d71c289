"""Wiring of the gateway."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from archive_blobs import BlobError, Blobs, open_blobs
from archive_bus import BusOptions, connect
from archive_contracts.documents import IngestFromOutside
from archive_contracts.streams import INGRESS
from archive_gateway.adapters.cancels import Canceller
from archive_gateway.adapters.engines import EngineFollower
from archive_gateway.adapters.outages import ServerWatch
from archive_gateway.adapters.server import HttpServer
from archive_gateway.adapters.uploads import MultipartUploads
from archive_gateway.domain.door import Guard
from archive_gateway.handlers import Ingress
from archive_gateway.routes.api import ENDPOINTS
from archive_gateway.routes.asking import Asking
from archive_gateway.routes.desk import Check, Desk, Limits
from archive_gateway.routes.entry import Entry
from archive_gateway.routes.table import build_router
from archive_gateway.settings import Settings
from archive_telemetry import App, EdgeSettings, log_context, tracer_for

NAME = "gateway"
MB = 2**20


def build(settings: Settings) -> App:
    """Return the gateway, wired and not yet started."""
    blobs = open_blobs(settings.blobs_url)
    tracer = tracer_for(NAME) if EdgeSettings.from_env().trace_export else None
    # Requests drain first, then the ingress; both have to fit into the grace of the process.
    drain_s = settings.grace_s * 0.7
    bus = connect(
        settings.bus_url,
        settings.state_url,
        BusOptions(service=NAME, grace_s=settings.grace_s * 0.2, tracer=tracer, bind=log_context),
        blobs=blobs,
    )
    cancels = Canceller(bus)
    engines = EngineFollower(bus, clock=time.monotonic)
    ingress = Ingress(bus=bus, blobs=blobs, tenant=settings.ingress_tenant)
    watch = ServerWatch(bus.check, clock=time.monotonic)
    ready: dict[str, Check] = {"bus": watch.check, "blobs": _blobs_check(blobs)}
    desk = Desk(
        bus=bus,
        asking=Asking(bus, watch, cancels),
        cancels=cancels,
        engines=engines,
        uploads=MultipartUploads(blobs),
        limits=Limits(
            body=int(settings.max_body_mb * MB),
            upload=int(settings.max_upload_mb * MB),
            request_s=settings.request_timeout_s,
            run_s=settings.run_timeout_s,
        ),
        ready=ready,
        live=bus.live,
    )
    entry = Entry(build_router(ENDPOINTS, desk), Guard(key=settings.key), tenant=settings.tenant, tracer=tracer)
    server = HttpServer(entry, host=settings.host, port=settings.port, drain_s=drain_s)

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with bus, asyncio.TaskGroup() as tasks:
            cancels.use(tasks)
            following = tasks.create_task(engines.follow())
            bus.subscribe(INGRESS, {IngestFromOutside: ingress.ingest}, concurrency=4)
            async with server.serving():
                yield
                desk.draining.set()
            following.cancel()

    return App(
        name=NAME,
        lifespan=lifespan,
        ready=ready,
        live=bus.live,
        health_host=settings.health_host,
        health_port=settings.health_port,
        info=lambda: {"url": server.url, "models": sorted(engines.offers())},
    )


def _blobs_check(blobs: Blobs) -> Check:
    async def check() -> str | None:
        try:
            await blobs.check()
        except BlobError as error:
            return error.message
        return None

    return check
