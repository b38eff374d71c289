"""The services around the agent: memory with passages, a router whose model speaks from a script, a gateway."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from archive_bus import Bus, Delivery
from archive_contracts.agents import RunAgent, RunFinished, RunResearch
from archive_contracts.base import Message, Problem
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.documents import Chunk
from archive_contracts.memory import ChunkHit, ChunksFound, MemoriesFound, MemoryItem, RecallMemories, SearchChunks
from archive_contracts.streams import AGENT_COMMANDS, CHAT_REQUESTS, MEMORY_QUERIES, RUNS_JOURNAL

A = TypeVar("A", bound=Message)
Line = str | Problem | None
"""What a model does next: say something, fail, or hang until it is cancelled."""
GARBLED = "\x00"
"""A line that begins well and goes on with a chunk that is no JSON."""


def passage(
    text: str,
    *,
    document: str = "harbour",
    similarity: float = 0.8,
    marks: tuple[tuple[int, int], ...] = ((0, 1),),
    kind: str = "pdf",
) -> ChunkHit:
    return ChunkHit(
        chunk=Chunk(id=f"{document}-0", index=0, text=text, tokens=len(text.split()), marks=marks),
        document_id=document,
        filename=f"{document}.{kind}",
        format=kind,
        score=similarity,
        similarity=similarity,
    )


class Memory:
    """What library and memory hold; ``problem`` makes every search fail, ``together`` has them wait for each other."""

    def __init__(self, bus: Bus) -> None:
        self.hits: Sequence[ChunkHit] = ()
        self.items: Sequence[MemoryItem] = ()
        self.documents = 1
        self.together: asyncio.Barrier | None = None
        self.problem: Problem | None = None
        self.asked: list[tuple[str, Message]] = []
        bus.subscribe(MEMORY_QUERIES, {SearchChunks: self._search, RecallMemories: self._recall})

    async def _search(self, delivery: Delivery[SearchChunks]) -> None:
        if self.together:
            await self.together.wait()
        await self._answer(delivery, ChunksFound(hits=tuple(self.hits), documents=self.documents))

    async def _recall(self, delivery: Delivery[RecallMemories]) -> None:
        await self._answer(delivery, MemoriesFound(items=tuple(self.items), total=len(self.items)))

    async def _answer(self, delivery: Delivery[Any], found: Message) -> None:
        self.asked.append((delivery.envelope.tenant, delivery.message))
        if self.problem:
            await delivery.fail(self.problem)
        else:
            await delivery.reply(found)


class Router:
    """A model behind the router: says the lines of its script, the last one for ever."""

    def __init__(self, bus: Bus) -> None:
        self.script: list[Line] = []
        self.requests: list[ChatRequested] = []
        self.cancelled = 0
        self.hanging = 0
        bus.subscribe(CHAT_REQUESTS, {ChatRequested: self._chat})

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.requests]

    async def _chat(self, delivery: Delivery[ChatRequested]) -> None:
        self.requests.append(delivery.message)
        line = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(line, Problem):
            self._say(delivery, "Half of a ")
            await delivery.fail(line)
            return
        with delivery.cancellable() as scope:
            if line in {None, GARBLED}:
                self._say(delivery, "The beginning of it all is old. ")
                if line:
                    _ = delivery.emit(ChatDelta(body="{"))
                self.hanging += 1
                await asyncio.sleep(60)
            for piece in _pieces(line or ""):
                self._say(delivery, piece)
            await delivery.reply(ChatCompleted(engine="scripted", pool="p", model="parrot", text=line or ""))
        self.cancelled += scope.cancelled_caught

    def _say(self, delivery: Delivery[Any], text: str) -> None:
        _ = delivery.emit(ChatDelta(body=json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]})))


def _pieces(text: str) -> list[str]:
    return [text[start : start + 7] for start in range(0, len(text), 7)]


def action(tool: str, **arguments: Any) -> str:
    return json.dumps({"thought": f"I use {tool}.", "action": tool, "action_input": arguments})


class Gateway:
    """Asks the agent, and reads the journals of its runs."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def ask(self, command: RunResearch | RunAgent, end: type[A]) -> A:
        return (await self.heard(command, end))[-1]  # pyright: ignore[reportReturnType] - the end comes last

    async def heard(self, command: RunResearch | RunAgent, end: type[Message]) -> list[Message]:
        """Everything the agent replies, up to the end."""
        replies: list[Message] = []
        async with self.bus.open(command, to=AGENT_COMMANDS, timeout=60.0) as call:
            async for reply in call:
                replies.append(reply)
                if isinstance(reply, end):
                    break
        return replies

    async def journal(self, run: str) -> list[Message]:
        """Wait for the end of a run and return its journal."""
        found: list[Message] = []
        async with asyncio.timeout(30):
            async for received in self.bus.follow_journal(RUNS_JOURNAL, run):
                if received:
                    found.append(received.message)
                    if isinstance(received.message, RunFinished):
                        break
        return found
