"""Everybody whom memory talks to on a real bus, for the tests of its handlers."""

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pytest
from memory_samples import MODEL, vector

from archive_bus import Bus, Delivery, Origin, RequestFailed
from archive_contracts.base import Message, Problem
from archive_contracts.chat import ChatCompleted
from archive_contracts.documents import DocumentChunked, DocumentFailed, DocumentInfo, DocumentIngested, IngestDocument
from archive_contracts.engine import Embedded, EmbedRequested
from archive_contracts.jobs import Job, JobQueued
from archive_contracts.memory import (
    ChunkHit,
    ChunksFound,
    DocumentsFound,
    ListDocuments,
    ListMemories,
    MemoriesFound,
    MemoryItem,
    RecallMemories,
    SearchChunks,
)
from archive_contracts.streams import (
    CHAT_EVENTS,
    DOCUMENT_CHUNKS,
    DOCUMENT_COMMANDS,
    DOCUMENT_EVENTS,
    ENGINE_JOBS,
    JOBS_JOURNAL,
    MEMORY_COMMANDS,
    MEMORY_QUERIES,
)
from archive_telemetry import App
from archive_testkit.jobs import followed

A = TypeVar("A", bound=Message)
WINDOW = 8
"""Words of a window of the peer's model."""
FACTS = ("The pier is long.", "The crane lifts forty tonnes.", "Gates shut at nine.")

Start = Callable[..., App]
"""Builds a memory in the folder of the test."""


def meaning(text: str) -> list[float]:
    """Texts that share words point the same way."""
    words = text.lower().split() or [""]
    return np.mean([vector(word.strip(".?")) for word in words], axis=0).tolist()


class Engine:
    """A peer on the embedding lane; ``problem`` and ``garbled`` make it fail."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []
        self.problem: Problem | None = None
        self.garbled = False

    def serve(self, bus: Bus) -> None:
        bus.subscribe(ENGINE_JOBS, {EmbedRequested: self._embed}, partition="embed")

    async def _embed(self, delivery: Delivery[EmbedRequested]) -> None:
        request = delivery.message
        self.asked.append(request.texts)
        if self.problem:
            await delivery.fail(self.problem)
            return
        windows = [_windows(text) if request.windowed else [text] for text in request.texts]
        rows = np.array([meaning(window) for text in windows for window in text], dtype="<f4")
        counts = () if self.garbled else tuple(map(len, windows))
        vectors = base64.b64encode(rows.tobytes()).decode()
        await delivery.reply(Embedded(model=MODEL, dim=rows.shape[1], vectors=vectors, counts=counts))


def _windows(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[start : start + WINDOW]) for start in range(0, max(1, len(words)), WINDOW)]


class Client:
    """Everybody who talks to memory: gateway, librarian, the engine after a chat."""

    def __init__(self, gateway: Bus, librarian: Bus, engine: Bus) -> None:
        self.bus, self._librarian, self._engine = gateway, librarian, engine
        self.events: list[Message] = []
        librarian.subscribe(DOCUMENT_EVENTS, {DocumentIngested: self._note, DocumentFailed: self._note})

    async def _note(self, delivery: Delivery[Message]) -> None:
        self.events.append(delivery.message)

    async def ask(self, query: Message, answer: type[A], *, tenant: str = "default") -> A:
        to = MEMORY_COMMANDS if type(query) in MEMORY_COMMANDS.messages else MEMORY_QUERIES
        return await self.bus.request(query, answer, to=to, origin=Origin(tenant=tenant), timeout=20.0)

    async def refused(self, query: Message) -> Problem:
        with pytest.raises(RequestFailed) as caught:
            await self.ask(query, Message)
        return caught.value.problem()

    async def send(self, *batches: DocumentChunked, tenant: str = "default") -> None:
        for part in batches:
            await self._librarian.publish(part, to=DOCUMENT_CHUNKS, origin=Origin(tenant=tenant))

    async def queue(self, document: str = "doc-1", job: str = "job-1") -> None:
        command = IngestDocument(job_id=job, document_id=document, blob="b", filename=f"{document}.txt", size=7)
        await self.bus.append(JobQueued(job_id=job, kind="ingest"), to=JOBS_JOURNAL, entity=job)
        await self.bus.publish(command, to=DOCUMENT_COMMANDS)

    async def fail(self, failed: DocumentFailed) -> None:
        await self._librarian.publish(failed, to=DOCUMENT_EVENTS)

    async def chatted(self, said: str, answered: str, *, tenant: str = "default", id: str | None = None) -> None:  # noqa: A002
        done = ChatCompleted(engine="e", pool="p", model="m", user_turn=said, text=answered, session="s")
        await self._engine.publish(done, to=CHAT_EVENTS, origin=Origin(tenant=tenant), id=id)

    async def search(self, query: str, *, tenant: str = "default", top_k: int = 5) -> tuple[ChunkHit, ...]:
        return (await self.ask(SearchChunks(query=query, top_k=top_k), ChunksFound, tenant=tenant)).hits

    async def recall(self, query: str, *, tenant: str = "default") -> tuple[MemoryItem, ...]:
        return (await self.ask(RecallMemories(query=query), MemoriesFound, tenant=tenant)).items

    async def row(self, document: str = "doc-1") -> DocumentInfo | None:
        found = await self.ask(ListDocuments(), DocumentsFound)
        return next((info for info in found.documents if info.id == document), None)

    async def journal(self, job: str = "job-1") -> list[Message]:
        return [entry.message for entry in await self.bus.journal(JOBS_JOURNAL, job)]

    async def job(self, job: str = "job-1") -> Job:
        """Wait for the job's end and return it."""
        return await followed(self.bus, job)

    async def ingested(self, job: str = "job-1") -> DocumentIngested:
        """Wait until others hear that a job is done."""
        async with asyncio.timeout(20):
            while True:
                for event in self.events:
                    if isinstance(event, DocumentIngested) and event.job_id == job:
                        return event
                await asyncio.sleep(0.02)

    async def remembered(self, number: int, *, tenant: str = "default") -> tuple[MemoryItem, ...]:
        """Wait until so many turns are there."""
        async with asyncio.timeout(20):
            while True:
                found = await self.ask(ListMemories(), MemoriesFound, tenant=tenant)
                if found.total >= number:
                    return found.items
                await asyncio.sleep(0.02)

    async def until(self, true: Callable[[DocumentInfo | None], bool], document: str = "doc-1") -> DocumentInfo | None:
        """Wait until a row of the catalogue is so."""
        async with asyncio.timeout(20):
            while not true(found := await self.row(document)):
                await asyncio.sleep(0.02)
        return found
