"""The worker between its lane and a model server."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archive_bus import Bus, BusOptions, Delivery, Operator, Origin, RequestFailed, connect
from archive_contracts.base import Spent
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.engine import (
    Embedded,
    EmbedRequested,
    EngineLeft,
    EngineRegistered,
    GenerateRequested,
    Resumption,
    Target,
)
from archive_contracts.streams import CHAT_EVENTS, ENGINE_EVENTS, ENGINE_JOBS
from archive_engine.app import build
from archive_engine.domain.breaker import FAILURES
from archive_engine.settings import Settings
from archive_testkit.fault_engine import FaultEngine, delta, fault_engine, sse

WHOLE = {
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


@pytest.fixture
async def engine() -> AsyncIterator[FaultEngine]:
    """A model server that does as told."""
    async with fault_engine() as running:
        running.routes["/v1/models"] = {"object": "list", "data": [{"id": "m", "object": "model"}]}
        yield running


@pytest.fixture
async def caller(redis_url: str) -> AsyncIterator[Bus]:
    """Whoever waits for answers."""
    async with connect(redis_url, redis_url, BusOptions(service="router")) as bus:
        yield bus


@asynccontextmanager
async def worker(redis_url: str, engine: FaultEngine, tmp_path: Path, **settings: Any) -> AsyncGenerator[None]:
    """A running worker on the lane 'small'."""
    known: dict[str, Any] = {
        "bus_url": redis_url,
        "state_url": redis_url,
        "blobs_url": f"file://{tmp_path}",
        "name": "fake",
        "base_url": engine.url,
        "heartbeat_s": 0.1,
        "slots": 2,
    }
    async with build(Settings(**known | settings)).lifespan():
        yield


def asked(engine: FaultEngine) -> list[str]:
    """Bodies of the chats the engine was asked for; heartbeats ask it for other things meanwhile."""
    return [body for path, body in engine.received if path == "/v1/chat/completions"]


def job(*, stream: bool = True, store: bool = False, fallbacks: tuple[Target, ...] = ()) -> GenerateRequested:
    request = ChatRequested(
        body='{"model": "m", "odd":  1.50}', model="m", stream=stream, store=store, user_turn="Hi there"
    )
    return GenerateRequested(request=request, request_id="r1", pool="small", model="m", fallbacks=fallbacks)


async def talk(caller: Bus, message: GenerateRequested, **options: Any) -> tuple[list[str], ChatCompleted]:
    deltas, completed = await heard(caller, message, **options)
    return [reply.body for reply in deltas], completed


async def heard(caller: Bus, message: GenerateRequested, **options: Any) -> tuple[list[ChatDelta], ChatCompleted]:
    deltas: list[ChatDelta] = []
    options = {"partition": "small"} | options
    async with caller.open(message, to=ENGINE_JOBS, timeout=20, **options) as call:
        async for reply in call:
            if isinstance(reply, ChatCompleted):
                return deltas, reply
            assert isinstance(reply, ChatDelta)
            deltas.append(reply)
    raise AssertionError("unreachable")


async def test_stream_arrives_verbatim(redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path) -> None:
    chunks = [delta("Hel"), delta("lo", finish="stop") | {"odd": 1.5}]
    engine.pieces = [sse(*chunks, "[DONE]")]
    async with worker(redis_url, engine, tmp_path):
        deltas, completed = await talk(caller, job())
    assert [json.loads(body) for body in deltas] == chunks
    assert (completed.text, completed.engine, completed.pool) == ("Hello", "fake", "small")
    assert asked(engine) == ['{"model": "m", "odd":  1.50,"stream_options":{"include_usage":true}}']


async def test_batch_lane_is_served_too(redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path) -> None:
    engine.pieces = [sse(delta("Hello", finish="stop"), "[DONE]")]
    async with worker(redis_url, engine, tmp_path):
        _, completed = await talk(caller, job(), partition=ENGINE_JOBS.lane("small", "batch"))
    assert completed.text == "Hello"


async def test_first_chunk_names_the_engine(redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path) -> None:
    engine.pieces = [sse(delta("Hel"), delta("lo", finish="stop"), "[DONE]")]
    async with worker(redis_url, engine, tmp_path):
        deltas, _ = await heard(caller, job())
    assert [reply.engine for reply in deltas] == ["fake", ""]


async def test_whole_answer_is_passed_through(redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path) -> None:
    engine.routes["/v1/chat/completions"] = WHOLE
    async with worker(redis_url, engine, tmp_path):
        _, completed = await talk(caller, job(stream=False))
    assert json.loads(completed.body or "") == WHOLE
    assert (completed.usage.total_tokens, completed.finish_reason) == (5, "stop")


async def test_other_model_name_is_put_in(redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path) -> None:
    engine.routes["/v1/chat/completions"] = WHOLE
    async with worker(redis_url, engine, tmp_path):
        await talk(caller, job(stream=False).model_copy(update={"model": "real"}))
    assert [json.loads(body) for body in asked(engine)] == [{"model": "real", "odd": 1.5}]


async def test_exchange_is_told_when_it_may_be(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    engine.routes["/v1/chat/completions"] = WHOLE
    told: list[ChatCompleted] = []

    async def note(delivery: Delivery[ChatCompleted]) -> None:
        told.append(delivery.message)

    async with (
        worker(redis_url, engine, tmp_path),
        connect(redis_url, redis_url, BusOptions(service="memory")) as memory,
    ):
        memory.subscribe(CHAT_EVENTS, {ChatCompleted: note})
        await talk(caller, job(stream=False))
        await talk(caller, job(stream=False, store=True))
        async with asyncio.timeout(5):
            while not told:
                await asyncio.sleep(0.01)
    assert [(event.user_turn, event.text, event.body) for event in told] == [("Hi there", "Hello.", None)]


async def test_failure_before_the_first_token_goes_on(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    engine.status = 500
    engine.routes.pop("/v1/chat/completions", None)
    async with fault_engine() as other:
        other.routes |= {"/v1/models": {"data": [{"id": "n"}]}, "/v1/chat/completions": WHOLE}
        async with (
            worker(redis_url, engine, tmp_path),
            worker(redis_url, other, tmp_path, pool="spare", name="spare"),
        ):
            _, completed = await talk(caller, job(stream=False, fallbacks=(Target(pool="spare", model="n"),)))
    assert (completed.engine, completed.pool) == ("spare", "spare")


async def test_engines_refusal_reaches_the_caller(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    engine.status, engine.headers = 429, {"content-type": "application/json", "retry-after": "7"}
    engine.pieces = [b'{"error": {"message": "slow down", "code": "rate_limited"}}']
    async with worker(redis_url, engine, tmp_path):
        with pytest.raises(RequestFailed) as caught:
            await talk(caller, job())
    problem = caught.value.problem()
    assert (problem.status, problem.code, problem.message, problem.retry_after_s) == (
        429,
        "rate_limited",
        "slow down",
        7,
    )


async def test_dead_engine_is_tried_again_then_said(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    engine.status = 500
    async with worker(redis_url, engine, tmp_path):
        with pytest.raises(RequestFailed) as caught:
            await talk(caller, job())
    assert (len(asked(engine)), caught.value.problem().status) == (ENGINE_JOBS.attempts, 500)


async def test_unreadable_request_closes_no_engine(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    engine.status = 500
    async with worker(redis_url, engine, tmp_path):
        for _ in range(FAILURES - 1):
            with pytest.raises(RequestFailed):
                await talk(caller, job())
        engine.status = 200
        engine.answers("Hello.")
        before = len(asked(engine))
        await talk(caller, job())
    # They were tried again; had that counted, the engine would rest now.
    assert before > FAILURES
    assert len(asked(engine)) == before + 1


async def test_longer_vectors_than_there_are_are_refused(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    row = {"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}
    engine.routes["/v1/embeddings"] = {"object": "list", "data": [row], "usage": {"prompt_tokens": 1}}
    wanted = EmbedRequested(texts=("a",), dimensions=3)
    async with worker(redis_url, engine, tmp_path):
        with pytest.raises(RequestFailed) as caught:
            await caller.request(wanted, Embedded, to=ENGINE_JOBS, partition="small", timeout=60)
    problem = caught.value.problem()
    assert (problem.status, problem.code, problem.param) == (400, "invalid_dimensions", "dimensions")


async def test_cut_stream_is_said_in_band(redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path) -> None:
    engine.pieces = [sse(delta("Hel")), 0.1, None]
    async with worker(redis_url, engine, tmp_path):
        with pytest.raises(RequestFailed) as caught:
            await talk(caller, job())
    assert caught.value.problem().code == "upstream_cut"
    assert len(asked(engine)) == 1


async def test_rest_that_breaks_off_is_charged_whole(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    engine.cuts("lo")
    begun = job().model_copy(update={"resumption": Resumption(text="Hel", completion_tokens=7)})
    async with worker(redis_url, engine, tmp_path):
        with pytest.raises(RequestFailed) as caught:
            await talk(caller, begun)
    spent = caught.value.problem().spent
    assert spent is not None
    assert spent.completion_tokens == 8


async def test_cancel_closes_the_upstream_call(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    engine.pieces = [sse(delta("Hel")), 60.0]
    asking = caller.open(job(), to=ENGINE_JOBS, partition="small", timeout=20)
    async with worker(redis_url, engine, tmp_path), asking as call:
        await call.next()
        await caller.cancel("r1")
        async with asyncio.timeout(30):
            await engine.left.wait()
    assert len(asked(engine)) == 1


async def test_cancelled_before_it_began_is_not_asked(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    await caller.cancel("r1")
    engine.routes["/v1/chat/completions"] = WHOLE
    async with worker(redis_url, engine, tmp_path):
        await caller.publish(job(stream=False), to=ENGINE_JOBS, partition="small")
        await talk(caller, job(stream=False).model_copy(update={"request_id": "r2"}))
    assert len(asked(engine)) == 1


@pytest.mark.parametrize("log", ["", "interrupted"])
async def test_interrupted_answer_is_not_repeated(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path, log: str
) -> None:
    engine.pieces = [sse(delta("Hel")), 60.0]
    origin = Origin(log=log)
    async with caller.open(job(), to=ENGINE_JOBS, partition="small", origin=origin, timeout=30) as call:
        async with worker(redis_url, engine, tmp_path, grace_s=0.0):
            await call.next()
        engine.pieces = [sse(delta("again", finish="stop"), "[DONE]")]
        async with worker(redis_url, engine, tmp_path):
            with pytest.raises(RequestFailed) as caught:
                await call.next()
    problem = caught.value.problem()
    assert problem.code == "interrupted"
    # What was told is in the log, where there is one.
    spent = Spent(engine="fake", model="m", prompt_tokens=0, completion_tokens=1, estimated=True) if log else None
    assert (problem.spent, problem.engine) == (spent, "fake" if log else "")


async def test_answer_that_another_job_writes_is_left_to_it(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    engine.stalls()
    origin = Origin(log="shared")
    async with caller.open(job(), to=ENGINE_JOBS, partition="small", origin=origin, timeout=60):
        async with worker(redis_url, engine, tmp_path, grace_s=0.0), asyncio.timeout(60):
            while not asked(engine):
                await asyncio.sleep(0.02)
        # Whoever took the job on before the first worker could say that it had handed it on.
        await caller.reply(ChatDelta(body="{}"), origin=origin, seq=1, last=False)
        engine.answers("again")
        async with worker(redis_url, engine, tmp_path), asyncio.timeout(60):
            await settled(redis_url)
        assert [each.seq for each in await caller.log("shared")] == [1]
    assert len(asked(engine)) == 1


async def settled(url: str) -> None:
    """Wait until no job is left on any lane."""
    async with Operator(url, url) as operator:
        while True:
            reports = [report for report in await operator.streams() if report.stream == ENGINE_JOBS.name]
            if reports and not any(group.pending or group.lag for report in reports for group in report.groups):
                return
            await asyncio.sleep(0.05)


async def test_worker_announces_itself_and_leaves(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    events: list[EngineRegistered | EngineLeft] = []

    async def listen() -> None:
        async for received in caller.follow(ENGINE_EVENTS):
            if received and isinstance(received.message, EngineRegistered | EngineLeft):
                events.append(received.message)
                if isinstance(received.message, EngineLeft):
                    return

    listening = asyncio.ensure_future(listen())
    async with worker(redis_url, engine, tmp_path):
        async with asyncio.timeout(5):
            while not any(isinstance(event, EngineRegistered) and event.healthy for event in events):
                await asyncio.sleep(0.02)
    await asyncio.wait_for(listening, 5)
    first = events[0]
    assert isinstance(first, EngineRegistered)
    assert (first.pool, first.engine, [card.id for card in first.models], first.slots) == ("small", "fake", ["m"], 2)


async def test_embeddings_of_a_server_are_normal_vectors(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path
) -> None:
    rows = [{"index": 1, "embedding": [0.0, 1.0, 0.0]}, {"index": 0, "embedding": [1.0, 0.0, 0.0]}]
    engine.routes["/v1/embeddings"] = {"data": rows, "usage": {"prompt_tokens": 4}}
    async with worker(redis_url, engine, tmp_path):
        request = EmbedRequested(texts=("a", "b"), dimensions=2)
        reply = await caller.request(request, Embedded, to=ENGINE_JOBS, partition="small")
    vectors = np.frombuffer(base64.b64decode(reply.vectors), dtype="<f4").reshape(-1, reply.dim)
    assert vectors.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert (reply.counts, reply.tokens) == ((1, 1), 4)


@pytest.mark.parametrize(("status", "asked"), [(400, 1), (429, 1), (500, 3)])
async def test_refused_embedding_is_told_as_it_is(
    redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path, status: int, asked: int
) -> None:
    engine.refuses(status, retry_after_s=7)
    async with worker(redis_url, engine, tmp_path):
        with pytest.raises(RequestFailed) as caught:
            await caller.request(EmbedRequested(texts=("a",)), Embedded, to=ENGINE_JOBS, partition="small", timeout=60)
    problem = caught.value.problem()
    assert (problem.status, problem.engine, problem.retry_after_s) == (status, "fake", 7.0)
    assert sum(path == "/v1/embeddings" for path, _ in engine.received) == asked


async def test_embedding_for_nobody_ends(redis_url: str, engine: FaultEngine, caller: Bus, tmp_path: Path) -> None:
    engine.stalls()
    async with worker(redis_url, engine, tmp_path):
        request, sent = EmbedRequested(texts=("a",)), Origin(causation="asked-by-client")
        async with caller.open(request, to=ENGINE_JOBS, partition="small", origin=sent, timeout=60):
            async with asyncio.timeout(30):
                while not any(path == "/v1/embeddings" for path, _ in engine.received):
                    await asyncio.sleep(0.01)
            await caller.cancel("asked-by-client")
            async with asyncio.timeout(30):
                await engine.left.wait()
    assert [path for path, _ in engine.received].count("/v1/embeddings") == 1
