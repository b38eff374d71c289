"""The tool runner on a real bus: what it announces, what it runs, what it refuses, what it asks memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archive_bus import Bus, Delivery, Origin
from archive_contracts.base import Message, Problem
from archive_contracts.documents import Chunk
from archive_contracts.memory import (
    ChunkHit,
    ChunksFound,
    MemoriesFound,
    MemoryItem,
    RecallMemories,
    SearchChunks,
)
from archive_contracts.streams import MEMORY_QUERIES, TOOL_COMMANDS, TOOL_EVENTS
from archive_contracts.tools import RunTool, ToolCompleted, ToolRunnerLeft, ToolsRegistered
from archive_telemetry import App
from archive_testkit.peers import BusAs
from archive_tool_runner import handlers
from archive_tool_runner.app import build
from archive_tool_runner.settings import Settings

PASSAGE = ChunkHit(
    chunk=Chunk(id="c", index=0, text="The crane lifts 40 tonnes. " + "x" * 900, tokens=9, page_start=3, page_end=3),
    document_id="d",
    filename="harbour.pdf",
    score=1.0,
    similarity=0.9,
)


class Memory:
    """A peer in memory's place: what it was asked, by whom, and what it has."""

    def __init__(self, bus: Bus) -> None:
        self.asked: list[tuple[str, Message]] = []
        self.hits: tuple[ChunkHit, ...] = (PASSAGE,)
        self.items: tuple[MemoryItem, ...] = (MemoryItem(id="m", text="I live in Turin.", role="user"),)
        bus.subscribe(MEMORY_QUERIES, {SearchChunks: self._search, RecallMemories: self._recall})

    async def _search(self, delivery: Delivery[SearchChunks]) -> None:
        self.asked.append((delivery.envelope.tenant, delivery.message))
        await delivery.reply(ChunksFound(hits=self.hits, documents=1))

    async def _recall(self, delivery: Delivery[RecallMemories]) -> None:
        self.asked.append((delivery.envelope.tenant, delivery.message))
        if delivery.message.query == "forbidden":
            await delivery.fail(Problem(code="no", message="memory is resting", status=503))
        else:
            await delivery.reply(MemoriesFound(items=self.items, total=1))


class Agent:
    """Runs tools as the agent does."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def run(self, tool: str, arguments: Any, *, tenant: str = "default") -> ToolCompleted:
        raw = arguments if isinstance(arguments, str) else json.dumps(arguments)
        command = RunTool(call=f"run/{tool}", tool=tool, arguments=raw)
        return await self.bus.request(
            command, ToolCompleted, to=TOOL_COMMANDS, origin=Origin(tenant=tenant), timeout=20.0
        )

    async def heard(self, kind: type[Message]) -> Message:
        async with asyncio.timeout(10):
            async for received in self.bus.follow(TOOL_EVENTS, since=timedelta(minutes=1)):
                if received and isinstance(received.message, kind):
                    return received.message
        raise AssertionError(kind)


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> App:
    settings = {"bus_url": redis_url, "state_url": redis_url, "blobs_url": f"file://{tmp_path}/blobs", "grace_s": 1.0}
    return build(Settings(**settings, heartbeat_s=0.05))  # pyright: ignore[reportArgumentType]


@pytest.fixture
async def runner(app: App) -> AsyncIterator[App]:
    async with app.lifespan():
        yield app


@pytest.fixture
async def agent(bus_as: BusAs) -> AsyncIterator[Agent]:
    async with bus_as("agent") as bus:
        yield Agent(bus)


@pytest.fixture
async def memory(bus_as: BusAs) -> AsyncIterator[Memory]:
    async with bus_as("memory") as bus:
        yield Memory(bus)


async def test_announces_its_tools_while_it_lives(app: App, agent: Agent) -> None:
    async with app.lifespan():
        offer = await agent.heard(ToolsRegistered)
        assert (await agent.run("calculator", "1+1")).ok
    left = await agent.heard(ToolRunnerLeft)
    assert isinstance(offer, ToolsRegistered)
    assert isinstance(left, ToolRunnerLeft)
    assert left.runner == offer.runner
    tools = {tool.name: tool for tool in offer.tools}
    assert {"calculator", "current_time", "library_search"} <= tools.keys()
    assert json.loads(tools["calculator"].parameters)["required"] == ["expression"]
    assert {name for name, tool in tools.items() if tool.advanced} == {"library_search", "memory_search"}


async def test_offers_again_and_again(runner: App, agent: Agent) -> None:
    beats = 0
    async with asyncio.timeout(10):
        async for received in agent.bus.follow(TOOL_EVENTS, since=timedelta(minutes=1)):
            beats += bool(received)
            if beats == 3:
                break
    assert list(runner.info()) == ["tools"]
    assert await runner.ready["bus"]() is None


@pytest.mark.usefixtures("runner")
@pytest.mark.parametrize("arguments", [{"expression": "15% of 80"}, "15% of 80"], ids=["object", "bare value"])
async def test_runs_native_tool(agent: Agent, arguments: Any) -> None:
    done = await agent.run("calculator", arguments)
    assert done == ToolCompleted(call="run/calculator", tool="calculator", ok=True, result="12")


@pytest.mark.usefixtures("runner")
@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("telescope", {}, "calculator"),
        ("calculator", {"formula": "1+1"}, "Expected"),
        ("calculator", {}, "expression"),
        ("calculator", {"expression": "1/0"}, "zero"),
        ("convert_units", "no object", "no JSON object"),
        ("current_time", {"zone": "Atlantis"}, "Atlantis"),
        ("library_search", {"query": "", "top_k": 99}, "query"),
    ],
)
async def test_refusal_is_a_result(agent: Agent, tool: str, arguments: Any, reason: str) -> None:
    done = await agent.run(tool, arguments)
    assert not done.ok
    assert reason in done.result


@pytest.mark.usefixtures("runner")
async def test_library_search_asks_memory_for_its_tenant(agent: Agent, memory: Memory) -> None:
    done = await agent.run("library_search", {"query": "crane", "top_k": 2}, tenant="acme")
    assert done.ok
    assert done.result.startswith("harbour.pdf, p. 3: The crane lifts 40 tonnes.")
    assert len(done.result) < 600
    assert memory.asked == [("acme", SearchChunks(query="crane", top_k=2))]


@pytest.mark.usefixtures("runner")
async def test_memory_search_tells_who_said_it(agent: Agent, memory: Memory) -> None:
    done = await agent.run("memory_search", "where do I live")
    assert (done.ok, done.result) == (True, "user: I live in Turin.")
    assert memory.asked == [("default", RecallMemories(query="where do I live", top_k=3))]


@pytest.mark.usefixtures("runner")
async def test_nothing_found_is_said(agent: Agent, memory: Memory) -> None:
    memory.hits, memory.items = (), ()
    library, conversation = await agent.run("library_search", "x"), await agent.run("memory_search", "x")
    assert (library.ok, conversation.ok) == (True, True)
    assert "Nothing was found in the documents" in library.result
    assert "Nothing was found in earlier conversations" in conversation.result


@pytest.mark.usefixtures("runner", "memory")
async def test_failing_memory_is_a_result(agent: Agent) -> None:
    done = await agent.run("memory_search", "forbidden")
    assert not done.ok
    assert "memory is resting" in done.result


@pytest.mark.usefixtures("runner")
async def test_absent_memory_is_a_result(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "SEARCH_TIMEOUT_S", 0.2)
    done = await agent.run("library_search", "crane")
    assert not done.ok
    assert "not possible now" in done.result


@pytest.mark.usefixtures("runner")
async def test_cancelled_call_is_not_run(agent: Agent, memory: Memory) -> None:
    await agent.bus.cancel("run/library_search")
    command = RunTool(call="run/library_search", tool="library_search", arguments="crane")
    await agent.bus.publish(command, to=TOOL_COMMANDS)
    assert (await agent.run("memory_search", "after it")).ok
    assert [type(query) for _, query in memory.asked] == [RecallMemories]
