"""Wiring of the router."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from archive_blobs import open_blobs
from archive_bus import Bus, BusOptions, BusUnavailable, connect
from archive_contracts.chat import ChatRequested
from archive_contracts.engine import EmbedRequested, EngineLeft, EngineRegistered, LaneDeserted
from archive_contracts.streams import CHAT_REQUESTS, EMBEDDING_REQUESTS, ENGINE_EVENTS
from archive_router.adapters.engines_file import EnginesFileReader
from archive_router.adapters.learned import Learned
from archive_router.domain.route import Policy
from archive_router.handlers.routing import Limits, Routing
from archive_router.handlers.stranded import tell_stranded
from archive_router.settings import Settings
from archive_telemetry import App, bind_log, run_service, tracer_for

NAME = "router"
TELL_S = 1.0


def build(settings: Settings) -> App:
    """Return the router, wired and not yet started."""
    bus = connect(
        settings.bus_url,
        settings.state_url,
        BusOptions(service=NAME, grace_s=settings.grace_s, tracer=tracer_for(NAME), bind=bind_log),
        blobs=open_blobs(settings.blobs_url),
    )
    policy = Policy(chance=random.random)
    learned = Learned(settings.state_url, policy.prefixes, replica=bus.process)
    routing = Routing(
        policy,
        operator=EnginesFileReader(settings.engines_file),
        learner=learned,
        limits=Limits(queue=settings.queue, directed_s=settings.directed_s),
    )

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with bus, asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(_listen(bus, routing, tasks)), tasks.create_task(learned.run())]
            bus.subscribe(CHAT_REQUESTS, {ChatRequested: routing.chat}, concurrency=settings.concurrency)
            bus.subscribe(EMBEDDING_REQUESTS, {EmbedRequested: routing.embed}, concurrency=settings.concurrency)
            yield
            for task in background:
                task.cancel()

    return App(
        name=NAME,
        lifespan=lifespan,
        ready={"bus": bus.check},
        live=bus.live,
        health_host=settings.health_host,
        health_port=settings.health_port,
    )


async def _listen(bus: Bus, routing: Routing, tasks: asyncio.TaskGroup) -> None:
    async for received in bus.follow(ENGINE_EVENTS, since=timedelta(seconds=10)):
        if received is None and not await bus.reachable():
            continue
        routing.hearing()
        if received and isinstance(received.message, EngineRegistered | EngineLeft):
            routing.hear(received.message)
        else:
            # A lane whose workers fell silent says nothing any more; who waits for it has to be told.
            routing.turns.move()
        for pool in routing.deserted():
            with contextlib.suppress(BusUnavailable):
                await bus.publish(LaneDeserted(pool=pool), to=ENGINE_EVENTS, timeout=TELL_S)
                routing.lanes.cleared(pool)
        if lanes := routing.stranded():
            tasks.create_task(_tell(bus, routing, lanes))


async def _tell(bus: Bus, routing: Routing, lanes: Sequence[str]) -> None:
    if not await tell_stranded(bus, lanes):
        routing.untold()


def main() -> None:
    """Run until told to stop."""
    run_service(NAME, Settings, build)
