"""The router on a real bus: requests from a gateway, engines that announce themselves, jobs on lanes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from archive_bus import Bus, Delivery, Operator, Origin, RequestFailed
from archive_contracts.base import Problem
from archive_contracts.chat import Capability, ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.engine import (
    Embedded,
    EmbedRequested,
    EngineLeft,
    EngineRegistered,
    GenerateRequested,
    ModelCard,
)
from archive_contracts.streams import CHAT_REQUESTS, EMBEDDING_REQUESTS, ENGINE_EVENTS, ENGINE_JOBS
from archive_router.app import build
from archive_router.handlers import routing
from archive_router.settings import Settings
from archive_telemetry import App
from archive_testkit.peers import BusAs


class EnginesFile:
    """The file that an operator edits while the router runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, content: bytes) -> None:
        self.path.write_bytes(content)

    def remove(self) -> None:
        self.path.unlink()


class Engines:
    """Workers of any number of pools in one process: they announce themselves and say what came to their lanes."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._served: set[str] = set()
        self.jobs: list[GenerateRequested] = []

    async def announce(
        self,
        pool: str,
        *models: str,
        capabilities: tuple[Capability, ...] = ("chat",),
        healthy: bool = True,
        heartbeat_s: float = 60.0,
    ) -> None:
        if pool not in self._served:
            self._served.add(pool)
            for priority in ENGINE_JOBS.priorities:
                self._bus.subscribe(
                    ENGINE_JOBS,
                    {GenerateRequested: self._generate, EmbedRequested: self._embed},
                    partition=ENGINE_JOBS.lane(pool, priority),
                )
        beat = EngineRegistered(
            worker=f"worker-{pool}",
            engine=pool,
            pool=pool,
            models=tuple(ModelCard(id=model) for model in models),
            capabilities=capabilities,
            slots=2,
            healthy=healthy,
            heartbeat_s=heartbeat_s,
        )
        await self._bus.publish(beat, to=ENGINE_EVENTS)

    async def leave(self, pool: str) -> None:
        await self._bus.publish(EngineLeft(worker=f"worker-{pool}", pool=pool), to=ENGINE_EVENTS)

    async def _generate(self, delivery: Delivery[GenerateRequested]) -> None:
        job = delivery.message
        self.jobs.append(job)
        await delivery.reply(ChatCompleted(engine=job.pool, pool=job.pool, model=job.model))

    async def _embed(self, delivery: Delivery[EmbedRequested]) -> None:
        await delivery.reply(Embedded(model=delivery.message.model, dim=1, vectors="AACAPw==", counts=(1,)))


class Gateway:
    """Asks as the gateway does."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def chat(self, model: str = "auto", **head: Any) -> ChatCompleted:
        request = ChatRequested(body='{"odd": null}', model=model, **head)
        return await self._bus.request(request, ChatCompleted, to=CHAT_REQUESTS, timeout=20.0)

    async def embed(self, model: str = "auto") -> Embedded:
        request = EmbedRequested(texts=("a",), model=model)
        return await self._bus.request(request, Embedded, to=EMBEDDING_REQUESTS, timeout=20.0)

    async def refused(self, model: str = "auto", **head: Any) -> Problem:
        with pytest.raises(RequestFailed) as caught:
            await self.chat(model, **head)
        return caught.value.problem()

    async def pool_of(self, model: str = "auto") -> str:
        """The lane that serves a request, or nothing while there is none."""
        try:
            return (await self.chat(model)).pool
        except RequestFailed:
            return ""

    async def until_served_by(self, pool: str, model: str = "auto") -> None:
        async with asyncio.timeout(20):
            while await self.pool_of(model) != pool:
                await asyncio.sleep(0.02)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that takes what it has heard for all there is."""
    monkeypatch.setattr(routing, "HEARING_S", 0.0)


@pytest.fixture
async def engines(bus_as: BusAs) -> AsyncIterator[Engines]:
    async with bus_as("engine") as bus:
        yield Engines(bus)


@pytest.fixture
async def gateway(bus_as: BusAs) -> AsyncIterator[Gateway]:
    async with bus_as("gateway") as bus:
        yield Gateway(bus)


@pytest.fixture
def engines_file(tmp_path: Path) -> EnginesFile:
    return EnginesFile(tmp_path / "engines.yaml")


@pytest.fixture
def router(redis_url: str, tmp_path: Path, engines_file: EnginesFile) -> App:
    settings = {"bus_url": redis_url, "state_url": redis_url, "blobs_url": f"file://{tmp_path}/blobs", "grace_s": 1.0}
    return build(Settings(**settings, engines_file=engines_file.path))  # pyright: ignore[reportArgumentType]


async def test_routes_by_model_and_by_pool(router: App, engines: Engines, gateway: Gateway) -> None:
    await engines.announce("small", "tiny")
    await engines.announce("big", "giant", "tall")
    async with router.lifespan():
        assert (await gateway.chat("tall")).pool == "big"
        assert (await gateway.chat("small")).model == "tiny"
        assert (await gateway.chat("auto")).pool in {"small", "big"}
    assert [(job.pool, job.model) for job in engines.jobs[:2]] == [("big", "tall"), ("small", "tiny")]


async def test_request_that_is_being_answered_is_not_sent_twice(
    router: App, engines: Engines, redis_url: str, bus_as: BusAs
) -> None:
    origin = Origin(log="the-answer")
    asked = ChatRequested(body="{}", model="m", stream=True)
    async with bus_as("gateway") as bus, bus_as("router") as first:
        holding = asyncio.Event()

        async def hold(delivery: Delivery[ChatRequested]) -> None:
            holding.set()
            await asyncio.sleep(600)

        held = first.subscribe(CHAT_REQUESTS, {ChatRequested: hold})
        async with bus.open(asked, to=CHAT_REQUESTS, origin=origin, timeout=60), asyncio.timeout(60):
            await holding.wait()
            await bus.reply(ChatDelta(body="{}"), origin=origin, seq=1, last=False)
            await held.close()
            await engines.announce("small", "m")
            async with router.lifespan(), Operator(redis_url, redis_url) as operator:
                while not await settled(operator):
                    await asyncio.sleep(0.05)
    assert engines.jobs == []


async def settled(operator: Operator) -> bool:
    """Whether no router has a request before it, or in hand."""
    reports = [report for report in await operator.streams() if report.stream == CHAT_REQUESTS.name]
    return not any(group.pending or group.lag for report in reports for group in report.groups)


async def test_request_passes_through_unchanged(router: App, engines: Engines, gateway: Gateway) -> None:
    await engines.announce("a", "m")
    await engines.announce("b", "m")
    async with router.lifespan():
        await gateway.chat("m", stream=True, priority="batch", session="s", user_turn="hi")
    (job,) = engines.jobs
    assert (job.request.body, job.request.session, job.request.user_turn) == ('{"odd": null}', "s", "hi")
    assert [(target.pool, target.model) for target in job.fallbacks] == [("b", "m")]
    assert job.request_id


async def test_embeddings_go_to_embedding_lane(router: App, engines: Engines, gateway: Gateway) -> None:
    await engines.announce("small", "tiny")
    await engines.announce("embed", "minilm", capabilities=("embedding",))
    async with router.lifespan():
        assert (await gateway.embed("auto")).model == "minilm"
        assert (await gateway.embed("minilm")).model == "minilm"
    assert engines.jobs == []


async def test_new_router_waits_for_engines(router: App, engines: Engines, gateway: Gateway) -> None:
    async with router.lifespan(), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(gateway.chat("tiny"))
        await asyncio.sleep(0.3)
        assert not asking.done()
        await engines.announce("small", "tiny")
        assert (await asking).pool == "small"


@pytest.mark.usefixtures("impatient")
async def test_refusals_say_why(router: App, engines: Engines, gateway: Gateway) -> None:
    async with router.lifespan():
        nobody = await gateway.refused("tiny")
        await engines.announce("small", "tiny")
        await gateway.until_served_by("small")
        unknown, unable = await gateway.refused("giant"), await gateway.refused("tiny", needs=("chat", "vision"))
        with pytest.raises(RequestFailed) as no_embedder:
            await gateway.embed()
    assert (nobody.status, nobody.code, nobody.retry_after_s) == (503, "no_engine", 2.0)
    assert (unknown.status, unknown.code) == (404, "model_not_found")
    assert (unable.status, unable.code) == (400, "unsupported_capability")
    assert no_embedder.value.problem().status == 400


@pytest.mark.usefixtures("impatient")
async def test_sick_engine_is_unavailable_until_well(router: App, engines: Engines, gateway: Gateway) -> None:
    await engines.announce("other", "x")
    async with router.lifespan():
        await gateway.until_served_by("other")
        await engines.announce("small", "tiny")
        await gateway.until_served_by("small", "tiny")
        for _ in range(2):
            await engines.announce("small", healthy=False)
        async with asyncio.timeout(10):
            while await gateway.pool_of("tiny"):
                await asyncio.sleep(0.02)
        assert (await gateway.refused("tiny")).status == 503
        await engines.announce("small", "tiny")
        await gateway.until_served_by("small", "tiny")


@pytest.mark.usefixtures("impatient")
async def test_engine_that_left_gets_nothing(router: App, engines: Engines, gateway: Gateway) -> None:
    await engines.announce("small", "tiny")
    async with router.lifespan():
        await gateway.until_served_by("small")
        await engines.leave("small")
        await gateway.until_served_by("")
        assert (await gateway.refused()).status == 503


@pytest.mark.usefixtures("impatient")
async def test_engine_that_fell_silent_gets_nothing(router: App, engines: Engines, gateway: Gateway) -> None:
    await engines.announce("small", "tiny", heartbeat_s=60.0)
    await engines.announce("brief", "short", heartbeat_s=0.1)
    async with router.lifespan():
        await gateway.until_served_by("small", "small")
        await gateway.until_served_by("", "short")
        assert (await gateway.refused("short")).status == 404


async def test_preferred_pool_follows_the_file(
    router: App, engines: Engines, gateway: Gateway, engines_file: EnginesFile
) -> None:
    for pool in ("a", "b", "c"):
        await engines.announce(pool, "m")
    engines_file.write(b"default: b\nengines: [{anything: else}]\n")
    async with router.lifespan():
        await gateway.until_served_by("b")
        engines_file.write(b"default: c\n")
        assert await gateway.pool_of() == "c"
        assert await gateway.pool_of("a") == "a"
        engines_file.remove()
        assert await gateway.pool_of() == "a"


@pytest.mark.parametrize(
    "broken", [b"default: [", b"- a list", b"default: {a: b}", b"\xff\xfe\x00", b"default: \x00"], ids=repr
)
async def test_broken_file_keeps_last_state(
    router: App, engines: Engines, gateway: Gateway, engines_file: EnginesFile, broken: bytes
) -> None:
    await engines.announce("a", "m")
    await engines.announce("b", "m")
    engines_file.write(b"default: b\n")
    async with router.lifespan():
        await gateway.until_served_by("b")
        engines_file.write(broken)
        assert await gateway.pool_of() == "b"
        engines_file.write(b"default: a\n")
        assert await gateway.pool_of() == "a"


async def test_router_is_ready_and_alive(router: App, engines: Engines, gateway: Gateway) -> None:
    await engines.announce("a", "m")
    async with router.lifespan():
        await gateway.until_served_by("a")
        assert await router.ready["bus"]() is None
        assert router.live() is None
