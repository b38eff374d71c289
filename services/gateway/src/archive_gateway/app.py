"""Wiring of the gateway."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from archive_blobs import BlobError, Blobs, open_blobs
from archive_bus import Bus, BusOptions, Subscription, connect
from archive_contracts import streams
from archive_contracts.documents import IngestFromOutside
from archive_contracts.publishers import IngressCreated
from archive_contracts.streams import INGRESS
from archive_gateway.adapters.attendance import StreamAttendance
from archive_gateway.adapters.cancels import Canceller
from archive_gateway.adapters.engines import EngineFollower
from archive_gateway.adapters.history import SampleBook
from archive_gateway.adapters.ingresses import IngressFollower
from archive_gateway.adapters.jobs import JobFollower
from archive_gateway.adapters.keys import KeyFollower
from archive_gateway.adapters.machine import MachineFigures
from archive_gateway.adapters.outages import ServerWatch
from archive_gateway.adapters.quota import SharedQuota
from archive_gateway.adapters.tokens import Cl100kTexts
from archive_gateway.adapters.uploads import MultipartUploads
from archive_gateway.adapters.usage import UsageLedger
from archive_gateway.domain.door import Guard
from archive_gateway.domain.guardrails import Guardrails
from archive_gateway.domain.history import Traffic
from archive_gateway.domain.usage import UsageSheet
from archive_gateway.handlers import Ingress
from archive_gateway.routes.api import ENDPOINTS
from archive_gateway.routes.asking import Asking
from archive_gateway.routes.desk import Check, Desk, Limits
from archive_gateway.routes.entry import Entry
from archive_gateway.routes.metering import Metering
from archive_gateway.routes.table import build_router
from archive_gateway.settings import Settings
from archive_telemetry import App, EdgeSettings, SettingError, bind_log, run_service, tracer_for
from archive_web import HttpServer

NAME = "gateway"
MB = 2**20
KEYS_S = 2.0
"""How long a start waits for a server that may be away; until the keys are read, only the operator's own opens."""


@dataclass(frozen=True, slots=True)
class _Books:
    """What requests write down in passing, for those who carry it on."""

    sheet: UsageSheet = field(default_factory=UsageSheet)
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What has work or connections of its own beside the bus."""

    cancels: Canceller
    engines: EngineFollower
    jobs: JobFollower
    keys: KeyFollower
    quota: SharedQuota
    usage: UsageLedger
    attendance: StreamAttendance
    figures: MachineFigures
    history: SampleBook

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Follow and settle while the block runs, then write down what is left."""
        following = (self.engines.follow, self.jobs.follow, self.keys.follow)
        work = (*following, self.quota.run, self.usage.run, self.history.run)
        async with asyncio.TaskGroup() as tasks:
            self.cancels.use(tasks)
            background = [tasks.create_task(begin()) for begin in work]
            yield
            self.cancels.let_go()
            for part in (self.quota, self.usage, self.attendance, self.figures, self.history):
                await part.close()
            for task in background:
                task.cancel()


def build(settings: Settings) -> App:
    """Return the gateway, wired and not yet started."""
    blobs = open_blobs(settings.blobs_url)
    tracer = tracer_for(NAME) if EdgeSettings.from_env().trace_export else None
    # Requests drain first, then the ingress; both have to fit into the grace of the process.
    options = BusOptions(service=NAME, grace_s=settings.grace_s * 0.2, tracer=tracer, bind=bind_log)
    bus = connect(settings.bus_url, settings.state_url, options, blobs=blobs)
    books = _Books()
    parts = _parts(settings, bus, books)
    desk = _desk(settings, bus, blobs, parts=parts, books=books)
    guard = Guard(parts.keys, key=settings.key, tenant=settings.tenant, clock=time.time)
    entry = Entry(build_router(ENDPOINTS, desk), guard, tracer=tracer)
    server = HttpServer(entry, service=NAME, host=settings.host, port=settings.port, drain_s=settings.grace_s * 0.7)
    ingress = Ingress(bus=bus, blobs=blobs, tenant=settings.ingress_tenant)
    doors = IngressFollower(bus, partial(_open_door, bus, blobs))

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with bus, parts.running(), asyncio.TaskGroup() as tasks:
            await _keys_known(parts.keys, settings)
            bus.subscribe(INGRESS, {IngestFromOutside: ingress.ingest}, concurrency=4)
            following = tasks.create_task(doors.follow())
            async with server.serving():
                yield
                desk.draining.set()
            following.cancel()

    return App(
        name=NAME,
        lifespan=lifespan,
        ready=desk.ready,
        live=bus.live,
        health_host=settings.health_host,
        health_port=settings.health_port,
        info=lambda: {"url": server.url, "models": sorted(parts.engines.offers())},
    )


def _open_door(bus: Bus, blobs: Blobs, told: IngressCreated) -> Subscription:
    """Serve a foreign publisher; a message of a type that its door does not let in ends in the dead letters."""
    stream = streams.ingress(told.name)
    handler = Ingress(bus=bus, blobs=blobs, tenant=told.tenant, stream=stream.name)
    handle = handler.ingest if IngestFromOutside.type in told.types else handler.refuse
    return bus.subscribe(stream, {IngestFromOutside: handle}, concurrency=4)


def _parts(settings: Settings, bus: Bus, books: _Books) -> _Parts:
    engines, figures = EngineFollower(bus, clock=time.monotonic), MachineFigures(settings.bus_url)
    return _Parts(
        cancels=Canceller(bus),
        engines=engines,
        jobs=JobFollower(bus),
        keys=KeyFollower(bus),
        quota=SharedQuota(settings.state_url, clock=time.monotonic),
        usage=UsageLedger(settings.bus_url, books.sheet),
        attendance=StreamAttendance(settings.state_url),
        figures=figures,
        history=SampleBook(settings.state_url, figures=figures, engines=engines, traffic=books.traffic),
    )


def _desk(settings: Settings, bus: Bus, blobs: Blobs, *, parts: _Parts, books: _Books) -> Desk:
    watch = ServerWatch(bus.check, clock=time.monotonic)
    return Desk(
        bus=bus,
        asking=Asking(bus, watch, parts.cancels),
        cancels=parts.cancels,
        engines=parts.engines,
        uploads=MultipartUploads(blobs),
        limits=Limits(
            body=int(settings.max_body_mb * MB),
            upload=int(settings.max_upload_mb * MB),
            request_s=settings.request_timeout_s,
            run_s=settings.run_timeout_s,
        ),
        metering=Metering(_guardrails(settings), quota=parts.quota, sheet=books.sheet, traffic=books.traffic),
        jobs=parts.jobs,
        keys=parts.keys,
        usage=parts.usage,
        attendance=parts.attendance,
        tokens=Cl100kTexts(),
        figures=parts.figures,
        history=parts.history,
        ready={"bus": watch.check, "blobs": _blobs_check(blobs)},
        live=bus.live,
    )


async def _keys_known(keys: KeyFollower, settings: Settings) -> None:
    """Wait for the keys; without any, do not start where other machines can come in.

    Raises:
        SettingError: there is no key, and the address is not this machine's own.
    """
    if settings.exposed and not settings.key:
        book = await keys.loaded()
        if not book.keys:
            raise SettingError(
                f"GATEWAY_HOST is {settings.host!r}, which other machines can reach, and there is no key",
                next_step="set GATEWAY_API_KEY, or create a key with 'archive keys create', or use 127.0.0.1",
            )
    else:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KEYS_S):
                await keys.loaded()


def _guardrails(settings: Settings) -> Guardrails:
    return Guardrails(
        max_messages=settings.max_messages,
        max_message_chars=settings.max_message_chars,
        max_prompt_tokens=settings.max_prompt_tokens,
        max_answer_tokens=settings.max_answer_tokens,
        max_choices=settings.max_choices,
        max_concurrent=settings.max_concurrent,
    )


def _blobs_check(blobs: Blobs) -> Check:
    async def check() -> str | None:
        try:
            await blobs.check()
        except BlobError as error:
            return error.message
        return None

    return check


def main() -> None:
    """Run until told to stop."""
    run_service(NAME, Settings, build)
