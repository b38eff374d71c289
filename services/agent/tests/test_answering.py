"""Research on a real bus: from a question to an answer with sources, and every way it can end otherwise."""

import asyncio
from collections.abc import Callable

import pytest
from agent_peers import GARBLED, Gateway, Memory, Router, passage

from archive_agent.domain.budget import ANSWER, ANSWER_SHARE, estimated_tokens
from archive_agent.domain.support import NO_SUPPORT_ANSWER
from archive_bus import Bus, Origin, RequestFailed
from archive_contracts.agents import (
    AnswerDelta,
    EarlierTurn,
    ResearchCompleted,
    RunFinished,
    RunResearch,
    RunStarted,
    SourceFound,
)
from archive_contracts.base import Problem
from archive_contracts.chat import Capability
from archive_contracts.engine import EngineRegistered, ModelCard
from archive_contracts.memory import MemoryItem, RecallMemories, SearchChunks
from archive_contracts.streams import AGENT_COMMANDS, ENGINE_EVENTS
from archive_telemetry import App
from archive_testkit.waiting import eventually

QUESTION = "How many tonnes does the harbour crane lift?"
CRANE = "The harbour was built in 1880. The harbour crane lifts 40 tonnes. It was painted green."
BOATS = "The ferry leaves at noon. Its boats carry tonnes of grain to the harbour."


def question(**chosen: object) -> RunResearch:
    command: dict[str, object] = {"run_id": "r1", "question": QUESTION, "use_memory": False}
    return RunResearch.model_validate(command | chosen)


@pytest.fixture
def library(memory: Memory) -> Memory:
    marks = ((0, 4), (CRANE.index("It was"), 5))
    memory.hits = (passage(CRANE, marks=marks), passage(BOATS, document="ferry", similarity=0.6))
    return memory


@pytest.mark.usefixtures("agent", "library")
async def test_supported_citation_counts(gateway: Gateway, router: Router) -> None:
    router.script = ["The harbour crane lifts 40 tonnes [Source 1]. The ferry sank in 1999 [Source 2]."]
    done = await gateway.ask(question(), ResearchCompleted)
    crane, ferry = done.sources
    assert done.success
    assert done.answer == router.script[0]
    assert (crane.cited, crane.page, crane.sentence) == (True, 4, "The harbour crane lifts 40 tonnes.")
    assert (crane.filename, crane.document_id, crane.chunk_id) == ("harbour.pdf", "harbour", "harbour-0")
    assert (ferry.cited, done.library_chunks_consulted, done.engine) == (False, 2, "scripted/parrot")


@pytest.mark.usefixtures("agent")
async def test_source_without_pages_names_none(gateway: Gateway, memory: Memory, router: Router) -> None:
    memory.hits = (passage(CRANE, kind="markdown"),)
    router.script = ["The harbour crane lifts 40 tonnes [Source 1]."]
    (crane,) = (await gateway.ask(question(), ResearchCompleted)).sources
    assert (crane.cited, crane.page, crane.sentence) == (True, None, "The harbour crane lifts 40 tonnes.")


@pytest.mark.usefixtures("agent", "library")
async def test_missing_marker_is_added_where_supported(gateway: Gateway, router: Router) -> None:
    router.script = ["It was built in 1880. The harbour crane lifts 40 tonnes. Whales sing."]
    done = await gateway.ask(question(), ResearchCompleted)
    assert "lifts 40 tonnes [Source 1]." in done.answer
    assert done.answer.endswith("Whales sing.")
    assert [source.cited for source in done.sources] == [True, False]


@pytest.mark.usefixtures("agent", "library")
async def test_prompt_holds_sources_and_stays_private(gateway: Gateway, router: Router) -> None:
    router.script = ["I do not know."]
    await gateway.ask(question(model="parrot"), ResearchCompleted)
    (request,), (body,) = router.requests, router.bodies
    assert (request.store, request.model, request.stream) == (False, "parrot", True)
    assert "[Source 1] harbour.pdf, p. 4:" in body["messages"][-1]["content"]
    assert QUESTION in body["messages"][-1]["content"]


@pytest.mark.usefixtures("agent", "library")
async def test_sources_come_before_deltas(gateway: Gateway, router: Router) -> None:
    router.script = ["The harbour crane lifts 40 tonnes [Source 1]. That is all there is to say."]
    replies = await gateway.heard(question(stream=True), ResearchCompleted)
    kinds = [type(reply) for reply in replies]
    deltas = [reply.text for reply in replies if isinstance(reply, AnswerDelta)]
    done = replies[-1]
    assert isinstance(done, ResearchCompleted)
    assert kinds[:2] == [SourceFound, SourceFound]
    assert set(kinds[2:-1]) == {AnswerDelta}
    assert len(deltas) > 3
    assert "".join(deltas) == done.answer


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("stream", [False, True])
async def test_unsupported_question_asks_no_model(
    gateway: Gateway, memory: Memory, router: Router, stream: bool
) -> None:
    memory.hits = (passage("Penguins breed on ice.", similarity=0.1),)
    replies = await gateway.heard(question(stream=stream), ResearchCompleted)
    done = replies[-1]
    assert isinstance(done, ResearchCompleted)
    assert (done.answer, done.success) == (NO_SUPPORT_ANSWER, True)
    assert [source.cited for source in done.sources] == [False]
    assert [reply.text for reply in replies if isinstance(reply, AnswerDelta)] == [NO_SUPPORT_ANSWER] * stream
    assert router.requests == []


@pytest.mark.usefixtures("agent", "router")
async def test_empty_library_is_said(gateway: Gateway, memory: Memory) -> None:
    memory.documents = 0
    done = await gateway.ask(question(use_memory=True), ResearchCompleted)
    assert not done.success
    assert done.error
    assert (done.error.code, done.error.status) == ("no_documents", 409)
    assert done.error.next_step


@pytest.mark.usefixtures("agent")
async def test_memories_are_evidence_too(gateway: Gateway, memory: Memory, router: Router) -> None:
    memory.items = (
        MemoryItem(id="m1", text=QUESTION, similarity=1.0),
        MemoryItem(id="m2", text="The harbour crane lifts 40 tonnes.", similarity=0.8, created_at=86400.0),
    )
    router.script = ["The harbour crane lifts 40 tonnes [Source 1]."]
    command = question(use_library=False, use_memory=True, top_k=7)
    done = await gateway.ask(command, ResearchCompleted)
    (source,) = done.sources
    assert (source.type, source.chunk_id, source.timestamp, source.cited) == ("memory", "m2", 86400.0, True)
    assert (done.memories_consulted, done.library_chunks_consulted) == (1, 0)
    assert memory.asked == [("default", RecallMemories(query=QUESTION, top_k=7))]


@pytest.mark.usefixtures("agent", "library")
async def test_small_talk_is_no_source(gateway: Gateway, library: Memory, router: Router) -> None:
    library.items = (
        MemoryItem(id="m1", text="Hi there!", similarity=0.1),
        MemoryItem(id="m2", text="The harbour crane was sold to Hull.", similarity=0.6),
        MemoryItem(id="m3", text="Cranes are kept in the north dock.", similarity=None),
    )
    router.script = ["The harbour crane lifts 40 tonnes [Source 1]."]
    done = await gateway.ask(question(use_memory=True), ResearchCompleted)
    assert {source.chunk_id for source in done.sources if source.type == "memory"} == {"m2", "m3"}
    assert done.memories_consulted == 2


@pytest.mark.usefixtures("agent")
async def test_searches_within_tenant_and_documents(gateway: Gateway, library: Memory, router: Router) -> None:
    router.script = ["The harbour crane lifts 40 tonnes [Source 1]."]
    command = question(document_ids=("harbour",), top_k=3)
    await gateway.bus.request(command, ResearchCompleted, to=AGENT_COMMANDS, origin=Origin(tenant="acme"), timeout=20)
    assert library.asked == [("acme", SearchChunks(query=QUESTION, top_k=3, document_ids=("harbour",)))]


@pytest.mark.usefixtures("agent")
async def test_follow_up_is_read_with_its_turns(gateway: Gateway, library: Memory, router: Router) -> None:
    router.script = ["It lifts 40 tonnes [Source 1]."]
    library.together = asyncio.Barrier(2)
    turns = (EarlierTurn(question="What stands in the harbour?", answer="A crane, built in 1880 [Source 2]."),)
    done = await gateway.ask(question(question="And what does it lift?", turns=turns), ResearchCompleted)
    assert {asked.query for _, asked in library.asked if isinstance(asked, SearchChunks)} == {
        "What stands in the harbour?\nA crane, built in 1880.\nAnd what does it lift?",
        "And what does it lift?",
    }
    said = [(message["role"], message["content"]) for message in router.bodies[0]["messages"]]
    assert said[1:3] == [("user", "What stands in the harbour?"), ("assistant", "A crane, built in 1880.")]
    assert [(source.document_id, source.cited) for source in done.sources] == [("harbour", True), ("ferry", False)]


NO_ENGINE = Problem(code="no_engine", message="No engine is alive.", next_step="Start one.", status=503)


@pytest.mark.usefixtures("agent", "library")
async def test_failing_engine_is_told(gateway: Gateway, router: Router) -> None:
    router.script = [NO_ENGINE]
    done = await gateway.ask(question(), ResearchCompleted)
    assert (done.success, done.error, done.answer) == (False, NO_ENGINE, "")
    assert [source.document_id for source in done.sources] == ["harbour", "ferry"]
    assert done.library_chunks_consulted == 2
    finished = (await gateway.journal("r1"))[-1]
    assert isinstance(finished, RunFinished)
    assert finished.error == NO_ENGINE
    assert router.cancelled == 0


@pytest.mark.usefixtures("agent", "router")
async def test_failing_memory_is_told(gateway: Gateway, memory: Memory) -> None:
    memory.problem = Problem(code="store_fault", message="The disk is full.", next_step="Free some.", status=503)
    assert (await gateway.ask(question(), ResearchCompleted)).error == memory.problem


@pytest.mark.usefixtures("agent", "library")
async def test_journal_tells_the_run(gateway: Gateway, router: Router) -> None:
    router.script = ["The harbour crane lifts 40 tonnes [Source 1]."]
    done = await gateway.ask(question(), ResearchCompleted)
    started, finished = await gateway.journal("r1")
    assert started == RunStarted(run_id="r1", kind="research", question=QUESTION)
    told = RunFinished(run_id="r1", answer=done.answer, success=True, sources=done.sources, used=done.used)
    assert finished == told
    assert [(used.model, used.requests) for used in done.used] == [("parrot", 1)]


@pytest.mark.usefixtures("agent", "library")
async def test_cancel_reaches_the_model(gateway: Gateway, router: Router) -> None:
    router.script = [None]
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(gateway.ask(question(stream=True), ResearchCompleted))
        await eventually(lambda: router.hanging)
        await gateway.bus.cancel("r1")
        await eventually(lambda: router.cancelled)
        done = await asking
    assert (done.success, done.error and done.error.code) == (False, "cancelled")
    finished = (await gateway.journal("r1"))[-1]
    assert isinstance(finished, RunFinished)
    assert finished.error == done.error


@pytest.mark.usefixtures("library")
async def test_cancelled_question_is_not_begun(
    wired: Callable[..., App], gateway: Gateway, library: Memory, router: Router
) -> None:
    await gateway.bus.cancel("r1")
    async with wired().lifespan():
        done = await gateway.ask(question(), ResearchCompleted)
    assert done.error
    assert done.error.code == "cancelled"
    assert (library.asked, router.requests) == ([], [])


@pytest.mark.usefixtures("agent", "library")
async def test_streamed_answer_is_not_begun_twice(gateway: Gateway, router: Router) -> None:
    router.script = [GARBLED, "A second answer."]
    with pytest.raises(RequestFailed) as caught:
        await gateway.ask(question(stream=True), ResearchCompleted)
    problem = caught.value.problem()
    finished = (await gateway.journal("r1"))[-1]
    assert (problem.code, problem.status) == ("interrupted", 502)
    assert isinstance(finished, RunFinished)
    assert finished.error == problem
    assert len(router.requests) == 1
    await eventually(lambda: router.cancelled)


@pytest.mark.usefixtures("agent", "library")
async def test_interrupted_answer_tells_its_use(gateway: Gateway, router: Router) -> None:
    router.script = [GARBLED]
    opened = gateway.bus.open(question(stream=True), to=AGENT_COMMANDS, origin=Origin(log="kept"), timeout=60.0)
    async with opened as call:
        with pytest.raises(RequestFailed) as caught:
            async for _ in call:
                pass
    spent, finished = caught.value.problem().spent, (await gateway.journal("r1"))[-1]
    assert spent
    assert isinstance(finished, RunFinished)
    prompt = -(-sum(len(message["content"]) for message in router.bodies[0]["messages"]) // 4)
    written = -(-len("The beginning of it all is old") // 4)
    [used] = finished.used
    assert (used.model, used.prompt_tokens, used.completion_tokens) == ("auto", prompt, written)
    assert (used.cut, used.estimated) == (1, 1)
    assert (spent.model, spent.prompt_tokens, spent.completion_tokens) == ("auto", prompt, written)


@pytest.mark.usefixtures("agent", "library")
async def test_whole_answer_is_tried_again(gateway: Gateway, router: Router) -> None:
    router.script = [GARBLED, "The harbour crane lifts 40 tonnes [Source 1]."]
    done = await gateway.ask(question(), ResearchCompleted)
    assert (done.success, done.answer) == (True, "The harbour crane lifts 40 tonnes [Source 1].")
    assert len(await gateway.journal("r1")) == 2


async def announce(engine: Bus, context: int) -> None:
    chat: tuple[Capability, ...] = ("chat",)
    beat = EngineRegistered(
        worker="w",
        engine="small",
        pool="p",
        models=(ModelCard(id="parrot", context=context),),
        capabilities=chat,
        slots=1,
        heartbeat_s=60.0,
    )
    await engine.publish(beat, to=ENGINE_EVENTS)


@pytest.mark.usefixtures("agent")
async def test_prompt_fits_the_engine(gateway: Gateway, memory: Memory, router: Router, engine: Bus) -> None:
    memory.hits = [
        passage(f"{CRANE} {number} tonnes of grain lie in store {number}. " * 20, document=f"d{number}")
        for number in range(8)
    ]
    router.script = ["I do not know."]
    await announce(engine, 512)
    runs = 0
    while not router.bodies or router.bodies[-1]["max_tokens"] == ANSWER:  # until the engine has been heard
        runs += 1
        await gateway.ask(question(run_id=f"r{runs}", top_k=8), ResearchCompleted)
    body = router.bodies[-1]
    prompt = sum(estimated_tokens(message["content"]) for message in body["messages"])
    assert body["max_tokens"] == 512 * ANSWER_SHARE
    assert 200 < prompt <= 512 - body["max_tokens"]
    too_long = await gateway.ask(question(run_id="long", question="harbour crane " * 300), ResearchCompleted)
    assert too_long.error
    assert (too_long.error.code, too_long.error.status) == ("question_too_long", 400)


async def test_agent_is_ready_and_alive(agent: App, gateway: Gateway, memory: Memory) -> None:
    memory.documents = 0
    await gateway.ask(question(), ResearchCompleted)
    assert await agent.ready["bus"]() is None
    assert agent.live() is None
