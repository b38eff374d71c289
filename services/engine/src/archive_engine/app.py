"""Wiring of the engine worker."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from pydantic import SecretStr
from yarl import URL

from archive_blobs import open_blobs
from archive_bus import Bus, BusOptions, connect
from archive_contracts.chat import Capability
from archive_contracts.engine import EmbedRequested, EngineSpec, GenerateRequested
from archive_engine.adapters.backlog import Backlog
from archive_engine.adapters.keys import Keys
from archive_engine.adapters.measuring import GenAiMetrics
from archive_engine.adapters.probes import BuiltInProbe, ServerProbe
from archive_engine.adapters.server_embedder import ServerEmbedder
from archive_engine.adapters.upstream_reply import Timeouts
from archive_engine.domain.guard import Guard
from archive_engine.handlers.embedding import Embedding
from archive_engine.handlers.generation import Engine, Generation
from archive_engine.handlers.hosting import Host
from archive_engine.handlers.interruption import kept_by
from archive_engine.handlers.working import Served, Worker
from archive_engine.settings import Settings
from archive_telemetry import App, bind_log, run_service, tracer_for

NAME = "engine"
CHAT: tuple[Capability, ...] = ("chat", "completion", "tools", "json_schema")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def build(settings: Settings) -> App:
    """Return the worker, wired and not yet started."""
    bus = _bus(settings)
    spec = _spec(settings)
    lane = Backlog(settings.bus_url, pool=spec.pool)
    worker = Worker(
        bus, spec, instance=instance_of(spec), lane=lane, heartbeat_s=settings.heartbeat_s, hosts=settings.host
    )

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(lane.close)
            engine = await _open(settings, spec, bus, stack, key=settings.api_key)
            await stack.enter_async_context(bus)
            await stack.enter_async_context(worker.serving(engine))
            if settings.host:
                await stack.enter_async_context(_hosting(settings, bus))
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


@asynccontextmanager
async def _hosting(settings: Settings, bus: Bus) -> AsyncGenerator[None, None]:
    keys = Keys(variables=settings.key_variables, folder=settings.keys_dir)

    @asynccontextmanager
    async def run_worker(spec: EngineSpec) -> AsyncGenerator[None, None]:
        known = spec if spec.capabilities else spec.model_copy(update={"capabilities": CHAT})
        key = keys.of(known)
        # A connection of its own: two consumers of one name on one lane would take each other's jobs for their own.
        own = _bus(settings)
        lane = Backlog(settings.bus_url, pool=known.pool)
        worker = Worker(own, known, instance=instance_of(known), lane=lane, heartbeat_s=settings.heartbeat_s)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(lane.close)
            engine = await _open_server(settings, known, own, stack, key=SecretStr(key) if key else None)
            await stack.enter_async_context(own)
            await stack.enter_async_context(worker.serving(engine))
            yield

    async with asyncio.TaskGroup() as tasks:
        hosting = tasks.create_task(Host(bus, run_worker).run())
        yield
        hosting.cancel()


def _bus(settings: Settings) -> Bus:
    return connect(
        settings.bus_url,
        settings.state_url,
        BusOptions(service=NAME, grace_s=settings.grace_s, tracer=tracer_for(NAME), bind=bind_log),
        blobs=open_blobs(settings.blobs_url),
    )


def _spec(settings: Settings) -> EngineSpec:
    usual: tuple[Capability, ...] = ("embedding",) if settings.kind == "minilm" else CHAT
    return EngineSpec.model_construct(
        name=settings.name,
        base_url=settings.base_url,
        pool=settings.pool,
        model=settings.model,
        tier=settings.tier,
        tags=settings.tags,
        capabilities=settings.capabilities or usual,
        context=settings.context,
        cost_in=settings.cost_in,
        cost_out=settings.cost_out,
        slots=settings.slots,
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
        stream_upstream=settings.stream_upstream,
    )


def instance_of(spec: EngineSpec) -> str:
    """Return which server it is: an address of this machine means another server on each machine."""
    url = URL(spec.base_url)
    if not url.host:
        return ""
    return str(url.with_host(socket.gethostname()) if url.host in LOOPBACK else url)


async def _open(
    settings: Settings, spec: EngineSpec, bus: Bus, stack: AsyncExitStack, *, key: SecretStr | None
) -> Served:
    if settings.kind != "minilm":
        return await _open_server(settings, spec, bus, stack, key=key)
    from archive_engine.adapters.built_in import BuiltInEmbedder
    from archive_engine.adapters.minilm import WINDOW, MiniLM

    model = await asyncio.to_thread(MiniLM.open, settings.model_dir, threads=settings.threads)
    embedding = Embedding(BuiltInEmbedder(model), engine=settings.name, meter=GenAiMetrics(provider=settings.name))
    return Served(
        handlers={EmbedRequested: embedding.embed},
        probe=BuiltInProbe(model.model_id, context=WINDOW),
        busy=lambda: embedding.busy,
        guard=Guard(engine=settings.name),
    )


async def _open_server(
    settings: Settings, spec: EngineSpec, bus: Bus, stack: AsyncExitStack, *, key: SecretStr | None
) -> Served:
    from archive_engine.adapters.http_session import open_session
    from archive_engine.adapters.openai_http import OpenAIBackend

    backend = OpenAIBackend(
        spec.base_url,
        session=await stack.enter_async_context(open_session()),
        api_key=key.get_secret_value() if key else None,
        timeouts=Timeouts(first_token_s=settings.first_token_s, idle_s=settings.idle_s),
        stream_upstream=spec.stream_upstream,
    )
    guard = Guard(
        engine=spec.name,
        requests_per_minute=spec.requests_per_minute,
        tokens_per_minute=spec.tokens_per_minute,
    )
    engine = Engine(
        name=spec.name, instance=instance_of(spec), worker=bus.process, meter_streams=settings.meter_streams
    )

    meter = GenAiMetrics(provider=spec.name)
    generation = Generation(backend, engine, guard=guard, meter=meter, kept=kept_by(bus))
    embedding = Embedding(ServerEmbedder(backend, model=spec.model), engine=spec.name, meter=meter)
    return Served(
        handlers={GenerateRequested: generation.generate, EmbedRequested: embedding.embed},
        probe=ServerProbe(backend, only=spec.model),
        busy=lambda: generation.busy + embedding.busy,
        guard=guard,
    )


def main() -> None:
    """Run until told to stop."""
    run_service(NAME, Settings, build)
