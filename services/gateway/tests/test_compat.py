"""The faces of the original: research, agent, library, memories."""

import json
from typing import Any

from archive_bus import Delivery
from archive_contracts.agents import (
    AgentCompleted,
    AnswerDelta,
    ResearchCompleted,
    RunAgent,
    RunResearch,
    Source,
    SourceFound,
    Step,
)
from archive_contracts.base import Problem
from archive_contracts.documents import Chunk
from archive_contracts.memory import (
    ChunkHit,
    ChunksFound,
    ForgetMemory,
    GetLibraryStats,
    GetMemory,
    LibraryStats,
    ListMemories,
    MemoriesFound,
    MemoryForgotten,
    MemoryItem,
    RecallMemories,
    SearchChunks,
)
from archive_contracts.streams import AGENT_COMMANDS, MEMORY_COMMANDS, MEMORY_QUERIES

BOOK = Source(number=1, type="library", text="T", sentence="S", page=7, filename="a.pdf", similarity=0.5, cited=True)
TURN = Source(number=2, type="memory", text="said", timestamp=5.0)
ITEM = MemoryItem(id="mem-1", text="said", created_at=5.0, similarity=0.75)


async def researched(delivery: Delivery[RunResearch]) -> None:
    wanted = delivery.message
    for source in (BOOK, TURN):
        _ = delivery.emit(SourceFound(source=source))
    _ = delivery.emit(AnswerDelta(text="An answer"))
    if wanted.question == "fail":
        await delivery.fail(Problem(code="engine_died", message="It broke.", next_step="Again.", status=502))
        return
    done = ResearchCompleted(
        run_id=wanted.run_id,
        question=wanted.question,
        answer="An answer",
        sources=(BOOK, TURN),
        library_chunks_consulted=wanted.top_k,
        memories_consulted=1,
        engine="bundled",
    )
    await delivery.reply(done)


def events_of(stream: str) -> list[tuple[str, Any]]:
    blocks = [
        [line for line in block.split("\n") if not line.startswith(("id: ", ":"))]
        for block in stream.split("\n\n")[:-1]
    ]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


async def test_research_names_its_sources(gateway: Any, peer: Any) -> None:
    async with peer("agent", AGENT_COMMANDS, {RunResearch: researched}):
        reply = await gateway.http.post("/research/", json={"question": "Why?", "top_k": 3})
    answer = reply.json()
    assert (answer["answer"], answer["total_sources"], answer["success"]) == ("An answer", 2, True)
    assert (answer["library_chunks_consulted"], answer["memories_consulted"], answer["error"]) == (3, 1, None)
    first, second = answer["sources"]
    assert (first["type"], first["filename"], first["page"], first["sentence"]) == ("library", "a.pdf", 7, "S")
    assert (first["cited"], first["message"], second["message"]) == (True, None, "said")


async def test_research_streams_events(gateway: Any, peer: Any) -> None:
    async with peer("agent", AGENT_COMMANDS, {RunResearch: researched}):
        reply = await gateway.http.post("/research", json={"question": "Why?", "stream": True})
    events = events_of(reply.text)
    assert [name for name, _ in events] == ["source", "source", "delta", "done"]
    assert events[2][1] == {"text": "An answer"}
    assert events[3][1]["engine"] == "bundled"


async def test_research_goes_on_after_its_last_event(gateway: Any, peer: Any) -> None:
    async with peer("agent", AGENT_COMMANDS, {RunResearch: researched}):
        whole = await gateway.http.post("/research", json={"question": "Why?", "stream": True})
    stream = whole.headers["x-archive-stream"]
    events = whole.text.split("\n\n")[:-1]
    assert all(event.startswith(f"id: {stream}/") for event in events)
    rest = await gateway.http.get(f"/v1/streams/{stream}", headers={"last-event-id": f"{stream}/1"})
    again = await gateway.http.post("/research", json={"question": "?"}, headers={"last-event-id": f"{stream}/1"})
    assert rest.text == again.text == "\n\n".join([*events[1:], ""])


async def test_broken_research_ends_with_error(gateway: Any, peer: Any) -> None:
    async with peer("agent", AGENT_COMMANDS, {RunResearch: researched}):
        streamed = await gateway.http.post("/research", json={"question": "fail", "stream": True})
        whole = await gateway.http.post("/research", json={"question": "fail"})
    assert events_of(streamed.text)[-1] == (
        "error",
        {"detail": "It broke.", "code": "engine_died", "next_step": "Again."},
    )
    assert (whole.status_code, whole.json()["code"]) == (502, "engine_died")


async def test_agent_shows_its_steps(gateway: Any, peer: Any) -> None:
    seen: list[RunAgent] = []

    async def run(delivery: Delivery[RunAgent]) -> None:
        seen.append(delivery.message)
        step = Step(step_number=1, thought="t", action="Calculator", action_input="2*3", observation="6")
        await delivery.reply(AgentCompleted(run_id="r", answer="6", steps=(step,), engine="bundled"))

    async with peer("agent", AGENT_COMMANDS, {RunAgent: run}):
        reply = await gateway.http.post("/agent/", json={"question": "2*3?", "max_steps": 0})
        await gateway.http.post("/agent/advanced", json={"question": "2*3?"})
    answer = reply.json()
    assert (answer["answer"], answer["total_steps"], answer["steps"][0]["observation"]) == ("6", 1, "6")
    assert [(wanted.advanced, wanted.max_steps) for wanted in seen] == [(False, 0), (True, 10)]


async def test_library_search_speaks_distances(gateway: Any, peer: Any) -> None:
    seen: list[SearchChunks] = []

    async def search(delivery: Delivery[SearchChunks]) -> None:
        seen.append(delivery.message)
        chunk = Chunk(id="c1", index=2, text="T", tokens=9, page_start=3, page_end=4, section=("A", "B"))
        hit = ChunkHit(
            chunk=chunk, document_id="d1", filename="a.pdf", format="pdf", total_chunks=8, score=1.0, similarity=0.79
        )
        await delivery.reply(ChunksFound(hits=(hit,), documents=1))

    async with peer("memory", MEMORY_QUERIES, {SearchChunks: search}):
        reply = await gateway.http.post("/library/search", json={"query": "q", "filter_file_type": ".PDF"})
    [chunk] = reply.json()["chunks"]
    assert (chunk["similarity_score"], chunk["similarity_pct"], chunk["chunk_index"]) == (0.21, 79.0, 2)
    assert (chunk["page_start"], chunk["page_end"], chunk["section"]) == (3, 4, ["A", "B"])
    assert (reply.json()["total"], reply.json()["query"], seen[0].formats) == (1, "q", ("pdf",))


async def test_library_stats_count(gateway: Any, peer: Any) -> None:
    async def stats(delivery: Delivery[GetLibraryStats]) -> None:
        await delivery.reply(LibraryStats(documents=2, chunks=9, vectors=11, memories=1, files=("a", "b")))

    async with peer("memory", MEMORY_QUERIES, {GetLibraryStats: stats}):
        numbers = (await gateway.http.get("/library/stats/")).json()
    assert (numbers["total_chunks"], numbers["unique_files"], numbers["files"]) == (9, 2, ["a", "b"])


async def test_memories_keep_their_old_face(gateway: Any, peer: Any) -> None:
    async def listed(delivery: Delivery[ListMemories]) -> None:
        await delivery.reply(MemoriesFound(items=(ITEM.model_copy(update={"similarity": None}),), total=116))

    async def recalled(delivery: Delivery[RecallMemories]) -> None:
        assert delivery.message.session == "s"
        await delivery.reply(MemoriesFound(items=(ITEM,)))

    async def got(delivery: Delivery[GetMemory]) -> None:
        await delivery.reply(MemoriesFound(items=(ITEM,) if delivery.message.memory_id == "mem-1" else ()))

    async with peer("memory", MEMORY_QUERIES, {ListMemories: listed, RecallMemories: recalled, GetMemory: got}):
        page = (await gateway.http.get("/memories/?limit=1")).json()
        hits = (await gateway.http.post("/memories/search", json={"query": "q", "session_id": "s"})).json()
        one = (await gateway.http.get("/memories/mem-1")).json()
        none = await gateway.http.get("/memories/mem-2")
    assert (page["total"], page["memories"][0]["similarity_score"]) == (116, None)
    assert (hits["total"], hits["memories"][0]["similarity_score"]) == (1, 0.25)
    assert (one["message"], one["session_id"], none.status_code) == ("said", "default", 404)


async def test_memory_is_forgotten(gateway: Any, peer: Any) -> None:
    async def forget(delivery: Delivery[ForgetMemory]) -> None:
        await delivery.reply(MemoryForgotten(memory_id=delivery.message.memory_id))

    async with peer("memory", MEMORY_COMMANDS, {ForgetMemory: forget}):
        reply = await gateway.http.delete("/memories/mem-1")
    assert reply.json() == {"status": "deleted", "id": "mem-1"}
