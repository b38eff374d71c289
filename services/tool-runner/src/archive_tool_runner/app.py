"""Wiring of the tool runner."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from archive_blobs import open_blobs
from archive_bus import Bus, BusOptions, BusUnavailable, connect
from archive_contracts.streams import TOOL_COMMANDS, TOOL_EVENTS
from archive_contracts.tools import RunTool, ToolRunnerLeft, ToolsRegistered
from archive_telemetry import App, bind_log, run_service, tracer_for
from archive_tool_runner.domain.catalogue import build_registry
from archive_tool_runner.domain.tool import Registry
from archive_tool_runner.handlers import Tools, announced
from archive_tool_runner.settings import Settings

NAME = "tool-runner"


def build(settings: Settings) -> App:
    """Return the tool runner, wired and not yet started."""
    bus = connect(
        settings.bus_url,
        settings.state_url,
        BusOptions(service=NAME, grace_s=settings.grace_s, tracer=tracer_for(NAME), bind=bind_log),
        blobs=open_blobs(settings.blobs_url),
    )
    registry = build_registry(lambda: datetime.now(UTC))

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with bus, asyncio.TaskGroup() as tasks:
            bus.subscribe(TOOL_COMMANDS, {RunTool: Tools(registry).run}, concurrency=settings.concurrency)
            announcing = tasks.create_task(_announce(bus, registry, settings.heartbeat_s))
            try:
                yield
            finally:
                announcing.cancel()
                with contextlib.suppress(BusUnavailable):
                    await bus.publish(ToolRunnerLeft(runner=bus.process), to=TOOL_EVENTS, timeout=1.0)

    return App(
        name=NAME,
        lifespan=lifespan,
        ready={"bus": bus.check},
        live=bus.live,
        health_host=settings.health_host,
        health_port=settings.health_port,
        info=lambda: {"tools": list(registry.names)},
    )


async def _announce(bus: Bus, registry: Registry, every_s: float) -> None:
    offered = announced(registry)
    beat = ToolsRegistered(runner=bus.process, tools=offered, heartbeat_s=every_s)
    while True:
        with contextlib.suppress(BusUnavailable):
            await bus.publish(beat, to=TOOL_EVENTS, timeout=every_s)
        await asyncio.sleep(every_s)


def main() -> None:
    """Run until told to stop."""
    run_service(NAME, Settings, build)
