"""Wiring of the router."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from archive_blobs import open_blobs
from archive_bus import Bus, BusOptions, connect
from archive_contracts.chat import ChatRequested
from archive_contracts.engine import EmbedRequested, EngineLeft, EngineRegistered
from archive_contracts.streams import CHAT_REQUESTS, EMBEDDING_REQUESTS, ENGINE_EVENTS
from archive_router.adapters.engines_file import EnginesFileReader
from archive_router.handlers import Routing
from archive_router.settings import Settings
from archive_telemetry import App, log_context, run, tracer_for

NAME = "router"


def build(settings: Settings) -> App:
    """Return the router, wired and not yet started."""
    bus = connect(
        settings.bus_url,
        settings.state_url,
        BusOptions(service=NAME, grace_s=settings.grace_s, tracer=tracer_for(NAME), bind=log_context),
        blobs=open_blobs(settings.blobs_url),
    )
    engines = EnginesFileReader(settings.engines_file)
    routing = Routing(preferred_pool=lambda: engines.current().default, clock=time.monotonic)

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with bus, asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(_listen(bus, routing))
            bus.subscribe(CHAT_REQUESTS, {ChatRequested: routing.chat}, concurrency=settings.concurrency)
            bus.subscribe(EMBEDDING_REQUESTS, {EmbedRequested: routing.embed}, concurrency=settings.concurrency)
            yield
            listening.cancel()

    return App(
        name=NAME,
        lifespan=lifespan,
        ready={"bus": bus.check},
        live=bus.live,
        health_host=settings.health_host,
        health_port=settings.health_port,
    )


async def _listen(bus: Bus, routing: Routing) -> None:
    async for received in bus.follow(ENGINE_EVENTS, since=timedelta(seconds=10)):
        if received and isinstance(received.message, EngineRegistered | EngineLeft):
            routing.hear(received.message)


def main() -> None:
    """Run until told to stop."""
    run(build(Settings()))  # pyright: ignore[reportCallIssue] - required fields come from the environment
