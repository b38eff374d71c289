"""Wiring of the agent."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from archive_agent.domain.surroundings import Contexts, Toolbox
from archive_agent.handlers.interruption import kept_by
from archive_agent.handlers.react import Runs
from archive_agent.handlers.research import Research
from archive_agent.settings import Settings
from archive_blobs import open_blobs
from archive_bus import Bus, BusOptions, connect
from archive_contracts.agents import RunAgent, RunResearch
from archive_contracts.engine import EngineLeft, EngineRegistered
from archive_contracts.streams import AGENT_COMMANDS, ENGINE_EVENTS, TOOL_EVENTS
from archive_contracts.tools import ToolRunnerLeft, ToolsRegistered
from archive_telemetry import App, bind_log, run_service, tracer_for

NAME = "agent"
LOOK_BACK = timedelta(seconds=20)


def build(settings: Settings) -> App:
    """Return the agent, wired and not yet started."""
    bus = connect(
        settings.bus_url,
        settings.state_url,
        BusOptions(service=NAME, grace_s=settings.grace_s, tracer=tracer_for(NAME), bind=bind_log),
        blobs=open_blobs(settings.blobs_url),
    )
    contexts, toolbox = Contexts(), Toolbox()

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with bus, asyncio.TaskGroup() as tasks:
            listening = [
                tasks.create_task(_hear_engines(bus, contexts)),
                tasks.create_task(_hear_tools(bus, toolbox)),
            ]
            research, runs = Research(contexts, kept_by(bus)), Runs(contexts, toolbox)
            bus.subscribe(
                AGENT_COMMANDS,
                {RunResearch: research.answer, RunAgent: runs.run},
                concurrency=settings.runs_at_once,
                prefetch=1,
            )
            yield
            for task in listening:
                task.cancel()

    return App(
        name=NAME,
        lifespan=lifespan,
        ready={"bus": bus.check},
        live=bus.live,
        health_host=settings.health_host,
        health_port=settings.health_port,
    )


async def _hear_engines(bus: Bus, contexts: Contexts) -> None:
    async for received in bus.follow(ENGINE_EVENTS, since=LOOK_BACK):
        if received and isinstance(received.message, EngineRegistered | EngineLeft):
            contexts.hear(received.message, now=time.monotonic())


async def _hear_tools(bus: Bus, toolbox: Toolbox) -> None:
    async for received in bus.follow(TOOL_EVENTS, since=LOOK_BACK):
        if received and isinstance(received.message, ToolsRegistered | ToolRunnerLeft):
            toolbox.hear(received.message, now=time.monotonic())


def main() -> None:
    """Run until told to stop."""
    run_service(NAME, Settings, build)
