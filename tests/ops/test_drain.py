"""A service that is told to end at work finishes what it has begun, its successor does the rest, and all is counted."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from archive_bus import Delivery
from archive_contracts.agents import AgentCompleted, RunAgent
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.memory import ChunksFound, SearchChunks
from archive_contracts.streams import (
    AGENT_COMMANDS,
    CHAT_REQUESTS,
    CONVERSATION_COMMANDS,
    MEMORY_QUERIES,
    TOOL_COMMANDS,
    Stream,
)
from archive_contracts.tools import RunTool, ToolCompleted
from archive_telemetry import App
from archive_testkit.peers import BusAs
from archive_testkit.servers import free_port
from archive_testkit.waiting import eventually
from archive_tool_runner.app import build as build_tool_runner
from archive_tool_runner.settings import Settings as ToolRunnerSettings

LOAD, QUESTIONS = 48, 24
WITHIN_S = 90.0
WORK_S = 0.3
Start = Callable[..., "subprocess.Popen[bytes]"]

pytestmark = pytest.mark.timeout(600)
"""Each waits for processes to start, twice, which a crowded machine makes a long wait."""


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start a service as a process of its own; what still runs at the end is killed."""
    running: list[subprocess.Popen[bytes]] = []
    places = {"ARCHIVE_BUS_URL": redis_url, "ARCHIVE_STATE_URL": redis_url, "GATEWAY_API_KEY": ""}
    env = {**os.environ, **places, "ARCHIVE_BLOBS_URL": (tmp_path / "blobs").as_uri()}

    def starting(module: str, **settings: str) -> "subprocess.Popen[bytes]":
        running.append(subprocess.Popen([sys.executable, "-m", module], env=env | settings))
        return running[-1]

    yield starting
    for process in running:
        process.kill()
        process.wait(10)


async def ended(process: "subprocess.Popen[bytes]", *, once_told: Callable[[], object] = lambda: None) -> int:
    """Tell a process to end; its exit code is 1 when the drain took longer than its grace."""
    process.send_signal(signal.SIGTERM)
    once_told()
    return await asyncio.to_thread(process.wait, WITHIN_S)


def added(url: str, stream: Stream) -> int:
    """Return how many entries a stream was ever given."""
    server: Any = Redis.from_url(url, decode_responses=True)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
    with server as client:
        return int(client.xinfo_stream(stream.physical())["entries-added"])


class Work:
    """What a service waits for while it works: the first ``free`` of it comes at once, the rest after ``release``."""

    def __init__(self, *, free: int) -> None:
        self.asked = Counter[str]()
        self._free = free
        self._released = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return 0 if self._released.is_set() else self.asked.total() - self._free

    def release(self) -> None:
        """Let all work be done in its time from now on."""
        self._released.set()

    async def done(self, name: str) -> None:
        """Note a piece of work, and return when it is done."""
        self.asked[name] += 1
        if self.asked.total() > self._free:
            await self._released.wait()
            await asyncio.sleep(WORK_S)


async def test_tool_runner_ends_at_work(bus_as: BusAs, start: Start) -> None:
    work = Work(free=8)

    async def search(delivery: Delivery[SearchChunks]) -> None:
        await work.done(delivery.message.query)
        await delivery.reply(ChunksFound(hits=(), documents=0))

    async with bus_as("memory") as memory, bus_as("agent") as agent, asyncio.TaskGroup() as tasks:
        memory.subscribe(MEMORY_QUERIES, {SearchChunks: search}, concurrency=LOAD)
        first = start("archive_tool_runner")
        wanted = [
            RunTool(call=f"c/{number}", tool="library_search", arguments=json.dumps({"query": f"q{number}"}))
            for number in range(LOAD)
        ]
        calls = [
            tasks.create_task(agent.request(call, ToolCompleted, to=TOOL_COMMANDS, timeout=WITHIN_S)) for call in wanted
        ]
        await eventually(lambda: work.waiting >= 8)
        assert await ended(first, once_told=work.release) == 0
        assert any(not call.done() for call in calls)
        start("archive_tool_runner")
    assert [(call.result().call, call.result().ok) for call in calls] == [(call.call, True) for call in wanted]
    assert work.asked == Counter(f"q{number}" for number in range(LOAD))


@pytest.fixture
async def tools(redis_url: str, tmp_path: Path) -> AsyncIterator[App]:
    """A tool runner that stays."""
    urls = {"bus_url": redis_url, "state_url": redis_url, "blobs_url": f"file://{tmp_path}/blobs", "grace_s": 0.5}
    app = build_tool_runner(ToolRunnerSettings(**urls, heartbeat_s=1.0))  # pyright: ignore[reportArgumentType]
    async with app.lifespan():
        yield app


def step(tool: str, **arguments: str) -> str:
    return json.dumps({"thought": "So.", "action": tool, "action_input": arguments})


@pytest.mark.usefixtures("tools")
async def test_agent_ends_at_work(redis_url: str, bus_as: BusAs, start: Start) -> None:
    work = Work(free=16)

    async def think(delivery: Delivery[ChatRequested]) -> None:
        (question,) = set(re.findall(r"number \d+", delivery.message.body))
        await work.done(question)
        second = "Observation: 42" in delivery.message.body
        text = step("final_answer", answer="42") if second else step("calculator", expression="6*7")
        await delivery.reply(ChatCompleted(engine="e", pool="p", model="m", text=text))

    async with bus_as("router") as router, bus_as("gateway") as gateway, asyncio.TaskGroup() as tasks:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: think}, concurrency=LOAD)
        first = start("archive_agent")
        wanted = [RunAgent(run_id=f"r{number}", question=f"What is number {number}?") for number in range(LOAD)]
        runs = [
            tasks.create_task(gateway.request(run, AgentCompleted, to=AGENT_COMMANDS, timeout=WITHIN_S))
            for run in wanted
        ]
        await eventually(lambda: work.waiting >= 16)
        assert await ended(first, once_told=work.release) == 0
        assert any(not run.done() for run in runs)
        start("archive_agent")
    assert [(run.result().run_id, run.result().answer) for run in runs] == [(run.run_id, "42") for run in wanted]
    assert work.asked == Counter({f"number {number}": 2 for number in range(LOAD)})
    assert added(redis_url, TOOL_COMMANDS) == LOAD


class Reader:
    """People at the page who ask one question after another.

    ``accepted`` are the questions that were taken, with the pages of their answers; ``unanswered`` those of which
    nobody can say, since the connection ended: a request may reach a server that has just stopped reading.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.accepted: dict[str, str] = {}
        self.unanswered: list[str] = []

    async def ask(self, name: str, count: int) -> None:
        """Ask so many questions. While nobody listens the page is loaded again."""
        number = 0
        while number < count:
            question = f"{name} {number}?"
            try:
                async with httpx.AsyncClient(base_url=self._url, timeout=WITHIN_S) as http:
                    token = (await http.get("/login")).text.partition('name="form" value="')[2].partition('"')[0]
                    sent = await http.post("/chat", data={"form": token, "text": question, "mode": "chat"})
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
                continue
            except httpx.TransportError:
                self.unanswered.append(question)
            else:
                assert sent.status_code == 303, sent.text
                self.accepted[question] = sent.headers["location"].partition("#")[0]
            number += 1

    async def answers(self) -> dict[str, list[tuple[str, str, str]]]:
        """Return question, state and answer of every turn of what was accepted; nothing while nobody listens."""
        try:
            async with httpx.AsyncClient(base_url=self._url, timeout=WITHIN_S) as http:
                told = {
                    question: (await http.get(f"{path}/export.json")).json()["turns"]
                    for question, path in self.accepted.items()
                }
        except httpx.TransportError:
            return {}
        return {
            question: [(turn["question"], turn["status"], turn["answer"]) for turn in turns]
            for question, turns in told.items()
        }


async def test_console_ends_at_work(redis_url: str, tmp_path: Path, bus_as: BusAs, start: Start) -> None:
    work, callers = Work(free=8), ("who", "what", "where", "when")
    settings = {"CONSOLE_DIR": str(tmp_path / "console"), "CONSOLE_PORT": str(free_port())}
    page = Reader(f"http://127.0.0.1:{settings['CONSOLE_PORT']}")

    async def answer(delivery: Delivery[ChatRequested]) -> None:
        _ = delivery.emit(ChatDelta(body=json.dumps({"choices": [{"index": 0, "delta": {"content": "It is so."}}]})))
        await work.done(str(delivery.message.user_turn))
        await delivery.reply(ChatCompleted(engine="e", pool="p", model="m", text="It is so."))

    async with bus_as("router") as router, asyncio.TaskGroup() as tasks:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: answer}, concurrency=LOAD)
        first = start("archive_console", **settings)
        asking = [tasks.create_task(page.ask(name, QUESTIONS // len(callers))) for name in callers]
        await eventually(lambda: work.waiting >= len(callers))
        assert await ended(first, once_told=work.release) == 0
        start("archive_console", **settings)
        await asyncio.wait(asking)

        async def all_recorded() -> bool:
            return added(redis_url, CONVERSATION_COMMANDS) == 2 * len(work.asked)

        async def all_answered() -> bool:
            wanted = {question: [(question, "done", "It is so.")] for question in page.accepted}
            return await page.answers() == wanted

        await eventually(all_recorded)
        await eventually(all_answered)
    assert len(page.accepted) + len(page.unanswered) == QUESTIONS
    assert len(page.unanswered) <= len(callers), "each has one request under way"
    assert set(work.asked.values()) == {1}
    assert page.accepted.keys() <= work.asked.keys() <= {*page.accepted, *page.unanswered}
