"""Wiring of the engine worker."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from archive_blobs import open_blobs
from archive_bus import WEIGHTS, Bus, BusOptions, BusUnavailable, Fair, Gate, Handler, connect
from archive_contracts.base import Message
from archive_contracts.chat import Capability
from archive_contracts.engine import EmbedRequested, EngineLeft, EngineRegistered, GenerateRequested
from archive_contracts.streams import ENGINE_EVENTS, ENGINE_JOBS
from archive_engine.adapters.embedders import BuiltInEmbedder, ServerEmbedder
from archive_engine.adapters.probes import BuiltInProbe, ServerProbe
from archive_engine.domain.ports import Condition, Probe
from archive_engine.handlers import Embedding, Generation
from archive_engine.settings import Settings
from archive_telemetry import App, log_context, run, tracer_for

NAME = "engine"
SLOTS = 4
CHAT: tuple[Capability, ...] = ("chat", "completion", "tools", "json_schema")


@dataclass(frozen=True, slots=True)
class Engine:
    """A model behind the port, whichever kind it is."""

    handlers: Mapping[type[Message], Handler[Any]]
    probe: Probe
    capabilities: tuple[Capability, ...]
    busy: Callable[[], int]


def build(settings: Settings) -> App:
    """Return the worker, wired and not yet started."""
    bus = connect(
        settings.bus_url,
        settings.state_url,
        BusOptions(service=NAME, grace_s=settings.grace_s, tracer=tracer_for(NAME), bind=log_context),
        blobs=open_blobs(settings.blobs_url),
    )
    worker = Worker(bus, settings)

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as stack:
            engine = await _open(settings, stack)
            await stack.enter_async_context(bus)
            await stack.enter_async_context(worker.serving(engine))
            yield

    return App(
        name=NAME,
        lifespan=lifespan,
        ready={"bus": bus.check, "engine": worker.check},
        live=bus.live,
        health_host=settings.health_host,
        health_port=settings.health_port,
        info=lambda: {"pool": settings.pool, "engine": settings.name, "models": worker.models},
    )


async def _open(settings: Settings, stack: AsyncExitStack) -> Engine:
    if settings.kind == "minilm":
        from archive_engine.adapters.minilm import WINDOW, MiniLM

        model = await asyncio.to_thread(MiniLM.open, settings.model_dir, threads=settings.threads)
        embedding = Embedding(BuiltInEmbedder(model), engine=settings.name)
        return Engine(
            handlers={EmbedRequested: embedding.embed},
            probe=BuiltInProbe(model.model_id, context=WINDOW),
            capabilities=settings.capabilities or ("embedding",),
            busy=lambda: embedding.busy,
        )
    from archive_engine.adapters.openai_http import OpenAIBackend, open_session

    backend = OpenAIBackend(
        settings.base_url,
        session=await stack.enter_async_context(open_session()),
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        stream_upstream=settings.stream_upstream,
    )
    generation = Generation(backend, engine=settings.name)
    embedding = Embedding(ServerEmbedder(backend, model=settings.model), engine=settings.name)
    return Engine(
        handlers={GenerateRequested: generation.generate, EmbedRequested: embedding.embed},
        probe=ServerProbe(backend, only=settings.model),
        capabilities=settings.capabilities or CHAT,
        busy=lambda: generation.busy + embedding.busy,
    )


class Worker:
    """Pulls from the lane and tells the others so."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._bus = bus
        self._settings = settings
        self._condition = Condition(problem="starting")

    @property
    def models(self) -> list[str]:
        """Ids of the models served."""
        return [card.id for card in self._condition.models]

    async def check(self) -> str | None:
        """Return why the engine cannot take requests, or None."""
        return self._condition.problem or None

    @asynccontextmanager
    async def serving(self, engine: Engine) -> AsyncGenerator[None, None]:
        """Serve the lane while the block runs."""
        self._condition = await engine.probe()
        slots = self._settings.slots or self._condition.slots or SLOTS
        async with asyncio.TaskGroup() as tasks:
            heart = tasks.create_task(self._beat(engine, slots))
            self._subscribe(engine, slots)
            try:
                yield
            finally:
                heart.cancel()
                left = EngineLeft(worker=self._bus.process, pool=self._settings.pool)
                with contextlib.suppress(BusUnavailable):
                    await self._bus.publish(left, to=ENGINE_EVENTS, timeout=1.0)

    def _subscribe(self, engine: Engine, slots: int) -> None:
        """Take jobs from the lanes of the pool; they share the slots by weight."""
        fair = Fair(Gate(slots))
        for priority in ENGINE_JOBS.priorities:
            self._bus.subscribe(
                ENGINE_JOBS,
                engine.handlers,
                partition=ENGINE_JOBS.lane(self._settings.pool, priority),
                slots=fair.share(WEIGHTS[priority]),
                concurrency=slots,
                prefetch=1,
            )

    async def _beat(self, engine: Engine, slots: int) -> None:
        while True:
            self._condition = await engine.probe()
            beat = EngineRegistered(
                worker=self._bus.process,
                engine=self._settings.name,
                pool=self._settings.pool,
                models=self._condition.models,
                capabilities=engine.capabilities,
                slots=slots,
                busy=engine.busy(),
                healthy=not self._condition.problem,
                problem=self._condition.problem,
                base_url=self._settings.base_url,
                heartbeat_s=self._settings.heartbeat_s,
            )
            with contextlib.suppress(BusUnavailable):
                await self._bus.publish(beat, to=ENGINE_EVENTS, timeout=self._settings.heartbeat_s)
            await asyncio.sleep(self._settings.heartbeat_s)


def main() -> None:
    """Run until told to stop."""
    run(build(Settings()))  # pyright: ignore[reportCallIssue] - required fields come from the environment
