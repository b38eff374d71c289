"""Engines that misbehave, behind a real router and real workers on a real bus: what the caller gets then."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from archive_bus import Bus, BusOptions, Origin, RequestFailed, RequestTimeout, connect
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.engine import (
    EVERY_ENGINE,
    EngineLeft,
    EngineRegistered,
    EngineSpec,
    GenerateRequested,
    RegisterEngine,
    RemoveEngine,
)
from archive_contracts.streams import CHAT_REQUESTS, ENGINE_EVENTS, ENGINE_JOBS, ENGINE_REGISTRY
from archive_engine.app import build as build_engine
from archive_engine.settings import Settings as EngineSettings
from archive_router.app import build as build_router
from archive_router.settings import Settings as RouterSettings
from archive_testkit.fault_engine import FaultEngine, delta, greeting_engine, sse
from archive_testkit.servers import RedisServer

CHATS = "/v1/chat/completions"


@dataclass
class Heard:
    """What a caller got: text, how it ended, and who was named."""

    text: str = ""
    bodies: list[str] = field(default_factory=list[str])
    completed: ChatCompleted | None = None
    problem: Problem | None = None


class Site:
    """A router, any number of workers with an engine each, and a gateway's place to ask from."""

    def __init__(self, url: str, folder: Path, stack: AsyncExitStack, caller: Bus) -> None:
        self.caller = caller
        self._shared: dict[str, Any] = {"bus_url": url, "state_url": url, "blobs_url": f"file://{folder}/blobs"}
        self._folder = folder
        self._stack = stack

    async def route(self, engines: str = "") -> None:
        """Start the router, with an engines file."""
        file = self._folder / "engines.yaml"
        file.write_text(engines)
        settings = RouterSettings.model_validate(self._shared | {"engines_file": file, "grace_s": 0.5})
        await self._stack.enter_async_context(build_router(settings).lifespan())

    async def serve(self, pool: str, **facts: Any) -> FaultEngine:
        """Start an engine and a worker on a pool, and wait until it is announced."""
        engine = await self.engine()
        await self._stack.enter_async_context(self.worker(pool, engine, **facts))
        await self.announced(lambda beat: beat.base_url == engine.url and beat.healthy)
        return engine

    async def engine(self) -> FaultEngine:
        return await self._stack.enter_async_context(greeting_engine())

    @asynccontextmanager
    async def worker(self, pool: str, engine: FaultEngine, **facts: Any) -> AsyncGenerator[None]:
        named: dict[str, Any] = {"pool": pool, "name": pool, "base_url": engine.url, "slots": 2, "grace_s": 0.2}
        brisk: dict[str, Any] = {"heartbeat_s": 0.3, "first_token_s": 1.0, "idle_s": 1.0}
        settings = EngineSettings.model_validate(self._shared | named | brisk | facts)
        async with build_engine(settings).lifespan():
            yield

    async def announced(self, wanted: Callable[[EngineRegistered], bool]) -> None:
        async with asyncio.timeout(30):
            async for received in self.caller.follow(ENGINE_EVENTS):
                if received and isinstance(received.message, EngineRegistered) and wanted(received.message):
                    return

    async def ask(
        self,
        *,
        stream: bool = True,
        timeout: float = 30.0,
        origin: Origin | None = None,
        during: Callable[[Heard], Awaitable[None]] | None = None,
        **head: Any,
    ) -> Heard:
        """Ask as the gateway does, and say what came."""
        known: dict[str, Any] = {"model": "auto", "stream": stream}
        request = ChatRequested(body='{"model":"m","messages":[]}', **known | head)
        heard = Heard()
        try:
            async with self.caller.open(request, to=CHAT_REQUESTS, timeout=timeout, origin=origin) as call:
                while heard.completed is None:
                    reply = await call.next()
                    if isinstance(reply, ChatCompleted):
                        heard.completed = reply
                    elif isinstance(reply, ChatDelta):
                        heard.bodies.append(reply.body)
                        choices = json.loads(reply.body)["choices"]
                        heard.text += "".join(choice["delta"].get("content", "") for choice in choices)
                        if during:
                            await during(heard)
        except RequestFailed as failed:
            heard.problem = failed.problem()
        return heard


@pytest.fixture
async def site(redis_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        options = BusOptions(service="gateway", grace_s=0.2)
        caller = await stack.enter_async_context(connect(redis_url, redis_url, options))
        yield Site(redis_url, tmp_path, stack, caller)


def asked(engine: FaultEngine) -> int:
    return sum(path == CHATS for path, _ in engine.received)


async def pair(site: Site) -> tuple[FaultEngine, FaultEngine]:
    """An engine that is asked first, and one that may take over."""
    first = await site.serve("first")
    spare = await site.serve("spare")
    await site.route("default: first\n")
    return first, spare


async def test_busy_engine_gives_way_at_once(site: Site) -> None:
    first, spare = await pair(site)
    first.refuses(429, retry_after_s=7)
    heard = await site.ask()
    assert (heard.text, asked(first), asked(spare)) == ("Hello", 1, 1)
    assert heard.completed
    assert heard.completed.engine == "spare"


async def test_only_busy_engine_passes_its_retry_after(site: Site) -> None:
    engine = await site.serve("only")
    await site.route()
    engine.refuses(429, retry_after_s=7)
    heard = await site.ask()
    assert heard.problem
    assert (heard.problem.status, heard.problem.retry_after_s, asked(engine)) == (429, 7.0, 1)
    await site.announced(lambda beat: beat.cooling_s > 0)
    resting = (await site.ask()).problem
    assert resting
    assert resting.status in {429, 503}
    assert 0 < (resting.retry_after_s or 0) <= 7
    assert asked(engine) == 1


async def test_broken_engine_is_left_for_the_next(site: Site) -> None:
    first, spare = await pair(site)
    first.refuses(500)
    assert (await site.ask()).text == "Hello"
    assert (asked(first), asked(spare)) == (1, 1)


async def test_only_broken_engine_is_asked_a_few_times(site: Site) -> None:
    engine = await site.serve("only")
    await site.route()
    engine.refuses(500)
    heard = await site.ask()
    assert heard.problem
    assert heard.problem.status == 500
    assert 2 <= asked(engine) <= 3


@pytest.mark.parametrize("fault", ["hangs up", "wrong json", "no stream", "stalls"])
async def test_nothing_useful_before_the_first_token_goes_on(site: Site, fault: str) -> None:
    first, spare = await pair(site)
    first.hangs_up = fault == "hangs up"
    if fault == "wrong json":
        first.headers, first.pieces = {"content-type": "application/json"}, [b'{"choices": [']
    elif fault == "no stream":
        first.headers, first.pieces = {"content-type": "text/html"}, [b"<html>"]
    elif fault == "stalls":
        first.stalls()
    heard = await site.ask()
    assert (heard.text, asked(spare)) == ("Hello", 1)


@pytest.mark.parametrize("fault", ["cuts", "stalls"])
async def test_break_after_the_first_token_is_said_and_metered(site: Site, fault: str) -> None:
    first, spare = await pair(site)
    (first.cuts if fault == "cuts" else first.stalls)("Hel", "lo")
    heard = await site.ask(prompt_chars=40)
    assert (heard.text, asked(spare)) == ("Hello", 0)
    assert heard.problem
    assert heard.problem.status == 502
    assert heard.problem.spent
    assert (heard.problem.spent.prompt_tokens, heard.problem.spent.completion_tokens) == (10, 2)


async def test_answer_goes_on_elsewhere_when_asked(site: Site) -> None:
    first, spare = await pair(site)
    first.cuts("Hel")
    spare.answers("lo")
    heard = await site.ask(continuation=True)
    assert heard.text == "Hello"
    assert heard.completed
    assert (heard.completed.text, heard.completed.usage.completion_tokens) == ("Hello", 2)
    body = json.loads(next(text for path, text in spare.received if path == CHATS))
    assert body["messages"][-1] == {"role": "assistant", "content": "Hel"}


async def test_bad_chunk_is_skipped(site: Site) -> None:
    engine = await site.serve("only")
    await site.route()
    engine.pieces = [sse(delta("Hel"), "{broken", "[1]", delta("lo", finish="stop"), "[DONE]")]
    heard = await site.ask()
    assert (heard.text, len(heard.bodies), heard.problem) == ("Hello", 2, None)


async def test_drip_and_comments_are_no_stall(site: Site) -> None:
    engine = await site.serve("only")
    await site.route()
    comments = [piece for _ in range(4) for piece in (b": busy\n\n", 0.4)]
    engine.answers("Hel", "lo", pause_s=0.4)
    engine.pieces = [*comments, *engine.pieces]
    assert (await site.ask()).text == "Hello"


async def test_usage_is_metered_and_not_shown(site: Site) -> None:
    await site.serve("only")
    await site.route()
    heard = await site.ask()
    assert heard.completed
    assert (heard.completed.usage.prompt_tokens, heard.completed.usage.completion_tokens) == (7, 2)
    assert all(json.loads(body)["choices"] for body in heard.bodies)


@pytest.mark.parametrize("stream", [True, False])
async def test_cancel_reaches_the_engine(site: Site, stream: bool) -> None:
    engine = await site.serve("only", first_token_s=60.0, idle_s=60.0)
    await site.route()
    engine.stalls(*["Hel"] * stream)
    request = ChatRequested(body='{"model":"m"}', model="auto", stream=stream)
    async with site.caller.open(request, to=CHAT_REQUESTS, timeout=60) as call:
        async with asyncio.timeout(20):
            while not asked(engine):
                await asyncio.sleep(0.01)
        await site.caller.cancel(call.message_id)
        async with asyncio.timeout(30):
            await engine.left.wait()
    assert asked(engine) == 1


async def test_answer_goes_on_when_its_worker_died(site: Site) -> None:
    await site.route()
    engine, next_engine = await site.engine(), await site.engine()
    engine.stalls("Hel")
    next_engine.answers("lo")
    async with AsyncExitStack() as life:
        await life.enter_async_context(site.worker("p", engine, first_token_s=60.0, idle_s=60.0))
        await site.announced(lambda beat: beat.base_url == engine.url)

        async def die(heard: Heard) -> None:
            if heard.text == "Hel":
                await life.aclose()
                await life.enter_async_context(site.worker("p", next_engine))

        origin = Origin(log="answer-1")
        heard = await site.ask(continuation=True, origin=origin, during=die)
    assert heard.text == "Hello"


async def test_sleeping_pool_keeps_jobs_until_a_worker_comes(site: Site) -> None:
    await site.route("pools: {gpu: {scale_to_zero: true, models: [m], start_s: 5}}\n")
    asking = asyncio.ensure_future(site.ask(model="m", timeout=60.0))
    await asyncio.sleep(0.5)
    assert not asking.done()
    engine = await site.engine()
    async with site.worker("gpu", engine):
        assert (await asking).text == "Hello"


async def test_neighbour_in_the_pool_takes_over(site: Site) -> None:
    engines = [await site.serve("p") for _ in range(2)]
    await site.route()
    await site.announced(lambda beat: beat.directed)
    engines[0].refuses(500)
    engines[1].refuses(500)
    assert (await site.ask()).problem
    for engine in engines:
        assert asked(engine) >= 1


@pytest.mark.parametrize("worker", ["gone", "silent"])
async def test_directed_job_is_not_lost_with_its_worker(site: Site, worker: str) -> None:
    engine = await site.serve("p", slots=1, idle_s=60.0)
    request = ChatRequested(body='{"model":"m","messages":[]}', model="m", stream=True)
    job = GenerateRequested(request=request, request_id="r1", pool="p", model="m", worker=worker, directed_until=1)
    beat = EngineRegistered(
        worker=worker, engine="e", pool="p", models=(), capabilities=(), slots=1, directed=True, heartbeat_s=0.2
    )
    async with site.caller.open(job, to=ENGINE_JOBS, partition=f"p:{worker}", timeout=60) as call:
        await site.caller.publish(beat, to=ENGINE_EVENTS)
        if worker == "gone":
            await site.caller.publish(EngineLeft(worker=worker, pool="p"), to=ENGINE_EVENTS)
        async with asyncio.timeout(30):
            while not isinstance(await call.next(), ChatCompleted):
                pass
    assert asked(engine) == 1


async def deserted(site: Site, life: AsyncExitStack, pool: str, *others: str) -> FaultEngine:
    """A pool whose one slot is taken by a question that will not end, and pools that may take over; then a router."""
    engine = await site.engine()
    engine.stalls("Hel")
    await life.enter_async_context(site.worker(pool, engine, slots=1, first_token_s=60.0, idle_s=60.0))
    await site.announced(lambda beat: beat.pool == pool)
    for other in others:
        await site.serve(other)
    await site.route(f"default: {pool}\n")
    return engine


@pytest.mark.parametrize(("model", "text"), [("auto", "Hello"), ("p", "")])
async def test_deserted_lane_is_cleared_at_once(site: Site, model: str, text: str) -> None:
    async with AsyncExitStack() as life:
        engine = await deserted(site, life, "p", "spare")
        first = asyncio.ensure_future(site.ask(model=model, timeout=100.0))
        async with asyncio.timeout(30):
            await engine.started.wait()
            while not asked(engine):
                await asyncio.sleep(0.01)
        waiting = asyncio.ensure_future(site.ask(model=model, timeout=100.0))
        await site.announced(lambda beat: beat.pool == "p" and beat.waiting > 0)
        await life.aclose()
        async with asyncio.timeout(60):
            heard, interrupted = await waiting, await first
    assert heard.text == text
    assert (heard.problem.code if heard.problem else "") == ("" if text else "no_engine")
    assert interrupted.problem
    assert interrupted.problem.code == "interrupted"


async def test_pool_lost_in_an_outage_is_cleared(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "server", durable=True)
    await asyncio.to_thread(server.start)
    async with AsyncExitStack() as stack:
        stack.callback(server.stop)
        options = BusOptions(service="gateway", grace_s=0.2)
        caller = await stack.enter_async_context(connect(server.url, server.url, options))
        site, life = Site(server.url, tmp_path, stack, caller), AsyncExitStack()
        engine = await deserted(site, life, "p", "spare")
        first = asyncio.ensure_future(site.ask(timeout=100.0))
        async with asyncio.timeout(30):
            while not asked(engine):
                await asyncio.sleep(0.01)
        waiting = asyncio.ensure_future(site.ask(timeout=100.0))
        await site.announced(lambda beat: beat.pool == "p" and beat.waiting > 0)
        await asyncio.to_thread(server.kill)
        # Its farewell reaches nobody, and neither does what the router says of it meanwhile.
        await life.aclose()
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(60):
            heard, interrupted = await waiting, await first
    assert heard.text == "Hello"
    assert interrupted.problem
    assert interrupted.problem.code == "interrupted"


async def test_caller_hears_that_no_engine_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_router.domain.desertion.PATIENCE_S", 0.5)
    monkeypatch.setattr("archive_router.domain.desertion.LEASE_S", 5.0)
    async with AsyncExitStack() as life:
        engine = await deserted(site, life, "p")
        origin = Origin(log="answer-3")
        first = asyncio.ensure_future(site.ask(timeout=300.0, origin=origin))
        async with asyncio.timeout(30):
            while not asked(engine):
                await asyncio.sleep(0.01)
        waiting = asyncio.ensure_future(site.ask(timeout=300.0))
        await site.announced(lambda beat: beat.waiting > 0)
        await life.aclose()
        async with asyncio.timeout(90):
            told = [await waiting, await first]
    for heard in told:
        assert heard.problem
        assert (heard.problem.status, heard.problem.code, heard.problem.retry_after_s) == (503, "no_engine", 2.0)
    engine.answers("Hel", "lo")
    async with site.worker("p", engine), asyncio.timeout(60):
        while (await site.ask()).text != "Hello":
            await asyncio.sleep(0.1)
    # The two jobs that lay there were dropped: nobody waits for them.
    assert asked(engine) == 2


async def test_cut_answer_goes_on_in_another_pool(site: Site) -> None:
    async with AsyncExitStack() as life:
        _ = await deserted(site, life, "p", "spare")

        async def leave(heard: Heard) -> None:
            if heard.text == "Hel":
                await life.aclose()

        origin = Origin(log="answer-2")
        heard = await site.ask(continuation=True, origin=origin, during=leave, timeout=100.0)
    assert heard.text == "HelHello"
    assert heard.completed
    assert heard.completed.engine == "spare"


async def refused(site: Site, model: str) -> bool:
    """Whether nobody serves a model; a question that slips in before the router hears of it waits in its lane."""
    try:
        return (await site.ask(model=model, timeout=3.0)).problem is not None
    except RequestTimeout:
        return False


async def test_engine_comes_and_goes_by_api(site: Site) -> None:
    await site.route()
    engine, added = await site.engine(), await site.engine()
    async with site.worker("own", engine, host=True):
        spec = EngineSpec(name="added", base_url=added.url, pool="added")
        await site.caller.append(RegisterEngine(engine=spec), to=ENGINE_REGISTRY, entity=EVERY_ENGINE)
        await site.announced(lambda beat: beat.engine == "added" and beat.healthy)
        heard = await site.ask(model="added")
        assert heard.completed
        assert heard.completed.engine == "added"
        await site.caller.append(RemoveEngine(name="added"), to=ENGINE_REGISTRY, entity=EVERY_ENGINE)
        async with asyncio.timeout(60):
            while not await refused(site, "added"):
                await asyncio.sleep(0.1)


async def test_overloaded_lane_says_when_to_come_back(site: Site) -> None:
    engine = await site.serve("only", slots=1, idle_s=60.0, first_token_s=60.0)
    await site.route()
    engine.answers("Hel", "lo", pause_s=0.5)
    assert (await site.ask()).text == "Hello"
    await site.announced(lambda beat: beat.service_s > 0.5)
    async with asyncio.TaskGroup() as tasks:
        held = [tasks.create_task(site.ask(timeout=60.0)) for _ in range(6)]
        await site.announced(lambda beat: beat.waiting > 0)
        refused = await site.ask(timeout=1.5)
        assert refused.problem
        assert refused.problem.status == 429
        assert (refused.problem.retry_after_s or 0) >= 1.0
    assert all(task.result().text == "Hello" for task in held)
