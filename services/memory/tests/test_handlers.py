"""Memory on a real bus: documents batch by batch, searches, conversations, an embedding lane that comes and goes."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from memory_samples import MODEL, batch, failure, vector

from archive_blobs import open_blobs
from archive_bus import Bus, BusOptions, Delivery, Origin, RequestFailed, connect
from archive_contracts.base import Message, Problem
from archive_contracts.chat import ChatCompleted
from archive_contracts.documents import (
    DeleteDocument,
    DocumentChunked,
    DocumentDeleted,
    DocumentFailed,
    DocumentInfo,
    DocumentIngested,
    IngestDocument,
)
from archive_contracts.engine import Embedded, EmbedRequested
from archive_contracts.jobs import Job, JobFinished, JobProgressed, JobQueued, fold
from archive_contracts.memory import (
    ChunkHit,
    ChunksFound,
    DocumentsFound,
    ForgetMemory,
    GetDocument,
    GetLibraryStats,
    GetMemory,
    LibraryStats,
    ListDocuments,
    ListMemories,
    MemoriesFound,
    MemoryForgotten,
    MemoryItem,
    MemoryStored,
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
    MEMORY_EVENTS,
    MEMORY_QUERIES,
)
from archive_memory import app as wiring
from archive_memory.handlers import documents, embedding
from archive_memory.handlers import turns as turning
from archive_memory.settings import Settings
from archive_telemetry import App
from archive_testkit.deaths import kill_all_runs

A = TypeVar("A", bound=Message)
WINDOW = 8
"""Words of a window of the peer's model."""


def bus_of(service: str, url: str) -> Bus:
    return connect(url, url, BusOptions(service=service, grace_s=0.2))


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
        seen: list[JobQueued | JobProgressed | JobFinished] = []
        async with asyncio.timeout(30):
            async for received in self.bus.follow_journal(JOBS_JOURNAL, job):
                if received and isinstance(received.message, JobQueued | JobProgressed | JobFinished):
                    seen.append(received.message)
                    if isinstance(received.message, JobFinished):
                        break
        return fold(job, seen)

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


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def lane(redis_url: str) -> AsyncIterator[Bus]:
    """The bus of an engine that nobody has put on its lane yet."""
    async with bus_of("engine", redis_url) as bus:
        yield bus


@pytest.fixture
async def client(redis_url: str, lane: Bus) -> AsyncIterator[Client]:
    async with bus_of("gateway", redis_url) as gateway, bus_of("librarian", redis_url) as librarian:
        yield Client(gateway, librarian, lane)


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> Callable[..., App]:
    def build(patience_s: float = 600.0, blob_grace_s: float = 60.0) -> App:
        urls = {"bus_url": redis_url, "state_url": redis_url, "blobs_url": f"file://{tmp_path}/blobs"}
        return wiring.build(
            Settings(  # pyright: ignore[reportCallIssue]
                **urls,  # pyright: ignore[reportArgumentType]
                dir=tmp_path / "memory",
                embed_patience_s=patience_s,
                blob_grace_s=blob_grace_s,
                grace_s=1.0,
            )
        )

    return build


Start = Callable[..., App]


@pytest.fixture
async def memory(app: Start) -> AsyncIterator[App]:
    running = app()
    async with running.lifespan():
        yield running


@pytest.fixture
def served(engine: Engine, lane: Bus) -> Engine:
    """An engine on its lane."""
    engine.serve(lane)
    return engine


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent engine is noticed soon."""
    monkeypatch.setattr(embedding, "QUERY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(embedding, "TEXTS_TIMEOUT_S", 0.2)
    monkeypatch.setattr(embedding, "TURNS_TIMEOUT_S", 0.2)
    monkeypatch.setattr(turning, "PAUSE_S", 0.2)
    monkeypatch.setattr(embedding, "PAUSE_S", 0.02)


@pytest.fixture
def single_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt is the last."""
    once = replace(DOCUMENT_CHUNKS, attempts=1)
    monkeypatch.setattr(wiring, "DOCUMENT_CHUNKS", once)
    monkeypatch.setattr(documents, "DOCUMENT_CHUNKS", once)


FACTS = ("The pier is long.", "The crane lifts forty tonnes.", "Gates shut at nine.")


@pytest.mark.usefixtures("memory", "served")
async def test_batches_become_a_searchable_document(client: Client) -> None:
    await client.queue()
    assert (await client.until(bool)) is not None
    await client.send(batch(FACTS[0], batches=2))
    async with asyncio.timeout(20):
        while not any(isinstance(event, JobProgressed) for event in await client.journal()):
            await asyncio.sleep(0.02)
    assert await client.search("crane") == ()
    await client.send(batch(FACTS[1], number=1, batches=2))
    job = await client.job()
    hits = await client.search("How many tonnes does the crane lift?")
    stats = await client.ask(GetLibraryStats(), LibraryStats)
    assert (job.status, job.progress, job.chunks, job.vectors, job.pages) == ("done", 1.0, 2, 2, 3)
    assert (hits[0].chunk.text, hits[0].filename) == (FACTS[1], "doc-1.txt")
    assert hits[0].similarity > 0.5
    assert (stats.documents, stats.chunks, stats.vectors, stats.files) == (1, 2, 2, ("doc-1.txt",))
    assert await client.until(lambda row: row is not None and row.status == "ready")


@pytest.mark.usefixtures("memory", "served")
async def test_batches_out_of_order_and_again(client: Client) -> None:
    parts = [batch(fact, number=number, batches=3) for number, fact in enumerate(FACTS)]
    await client.send(parts[2], parts[0], parts[0], parts[1], parts[2], parts[1])
    job = await client.job()
    await client.send(batch("Something else.", document="doc-2", job="job-2"))
    await client.job("job-2")
    hits = await client.search("crane pier gates")
    assert (job.status, job.chunks, job.vectors) == ("done", 3, 3)
    assert sorted(hit.chunk.text for hit in hits if hit.document_id == "doc-1") == sorted(FACTS)
    assert (await client.ingested()).chunks == 3
    journal = await client.journal()
    assert {event.status for event in journal if isinstance(event, JobFinished)} == {"done"}


@pytest.mark.usefixtures("memory", "served")
async def test_long_chunk_is_found_by_its_end(client: Client) -> None:
    filler = " ".join(f"filler{number}" for number in range(60))
    await client.send(batch(f"{filler} the vault opens with walnut", batches=1))
    job = await client.job()
    hits = await client.search("walnut vault")
    assert job.vectors == 9
    assert hits[0].similarity > 0.3


@pytest.mark.usefixtures("memory", "served")
async def test_bad_pages_make_it_partial(client: Client) -> None:
    await client.send(batch(FACTS[0], bad_pages=(2,)))
    job = await client.job()
    assert (job.status, job.bad_pages) == ("partial", (2,))
    assert (await client.ask(GetDocument(document_id="doc-1"), DocumentsFound)).documents[0].status == "partial"


@pytest.mark.usefixtures("memory", "served")
async def test_new_document_supersedes_the_replaced(client: Client) -> None:
    await client.send(batch(FACTS[0]))
    await client.job()
    await client.send(batch(FACTS[1], document="doc-2", job="job-2", replace="doc-1"))
    await client.job("job-2")
    assert await client.row("doc-1") is None
    assert [hit.document_id for hit in await client.search("pier crane")] == ["doc-2"]


@pytest.mark.usefixtures("served")
async def test_what_was_stored_survives_restart(app: Start, client: Client) -> None:
    async with app().lifespan():
        await client.send(batch(FACTS[1]))
        await client.job()
    async with app().lifespan():
        assert [hit.chunk.text for hit in await client.search("crane")] == [FACTS[1]]


@pytest.mark.usefixtures("memory", "hasty")
async def test_absent_engine_leaves_search_by_words(client: Client, engine: Engine, redis_url: str) -> None:
    async with bus_of("engine", redis_url) as brief:
        engine.serve(brief)
        await client.send(batch(*FACTS))
        await client.job()
    hits = await client.search("crane")
    assert [(hit.chunk.text, hit.similarity) for hit in hits] == [(FACTS[1], 0.0)]


@pytest.mark.usefixtures("memory", "hasty")
async def test_ingest_waits_for_its_engine(client: Client, engine: Engine, lane: Bus) -> None:
    await client.queue()
    await client.send(batch(FACTS[1]))
    await asyncio.sleep(0.7)
    assert not any(isinstance(event, JobFinished) for event in await client.journal())
    engine.serve(lane)
    assert (await client.job()).status == "done"
    assert await client.search("crane")


@pytest.mark.usefixtures("hasty")
async def test_patience_ends_with_a_reason(app: Start, client: Client) -> None:
    async with app(patience_s=0.3).lifespan():
        await client.queue()
        await client.send(batch(FACTS[1]))
        job = await client.job()
        row = await client.until(lambda found: found is not None and found.status == "failed")
    assert (job.status, job.error and job.error.code) == ("failed", "request_timeout")
    assert row
    assert row.error == job.error


@pytest.mark.usefixtures("memory")
async def test_refused_texts_are_not_sent_again(client: Client, served: Engine) -> None:
    served.problem = Problem(code="bad_texts", message="Too odd.", next_step="Clean them.", status=400)
    await client.send(batch(FACTS[1]))
    job = await client.job()
    assert (job.status, job.error) == ("failed", served.problem)
    assert len(served.asked) == 1


@pytest.mark.usefixtures("hasty", "memory")
async def test_engine_in_trouble_is_asked_again(client: Client, served: Engine) -> None:
    served.problem = Problem(code="upstream", message="Not now.", status=503)
    await client.send(batch(FACTS[1]))
    async with asyncio.timeout(20):
        while len(served.asked) < 3:
            await asyncio.sleep(0.02)
    served.problem = None
    assert (await client.job()).status == "done"


@pytest.mark.usefixtures("single_attempt")
async def test_garbled_vectors_end_the_job(app: Start, client: Client, served: Engine) -> None:
    served.garbled = True
    async with app().lifespan():
        await client.send(batch(FACTS[1]))
        job = await client.job()
    assert (job.status, job.error and job.error.code) == ("failed", "vectors_rejected")


@pytest.mark.usefixtures("single_attempt", "served")
async def test_unexpected_error_ends_the_job(app: Start, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(reply: Embedded) -> None:
        raise ValueError(reply.model)

    monkeypatch.setattr(embedding, "vectors_of", broken)
    async with app().lifespan():
        await client.send(batch(FACTS[1]))
        job = await client.job()
    assert (job.status, job.error and job.error.code) == ("failed", "internal_error")


@pytest.mark.usefixtures("served")
async def test_deadly_batch_ends_the_job(app: Start, client: Client, redis_url: str) -> None:
    await client.send(batch(FACTS[1]))
    await kill_all_runs(redis_url, DOCUMENT_CHUNKS, "memory")
    async with app().lifespan():
        job = await client.job()
    assert (job.status, job.error and job.error.code) == ("failed", "internal_error")


@pytest.mark.usefixtures("memory")
async def test_failed_document_keeps_its_reason(client: Client) -> None:
    await client.queue()
    await client.fail(failure())
    row = await client.until(lambda found: found is not None and found.status == "failed")
    assert row
    assert row.error == failure().problem
    assert row.filename == "doc-1.txt"


@pytest.mark.usefixtures("memory")
async def test_failure_that_comes_first_stays(client: Client) -> None:
    await client.fail(failure())
    await client.until(lambda found: found is not None and found.status == "failed")
    await client.queue()
    await client.queue("doc-2", "job-2")
    await client.until(bool, "doc-2")
    row = await client.row()
    assert row
    assert row.status == "failed"
    await client.queue("doc-1", "job-3")
    await client.until(lambda found: found is not None and found.status == "queued")


@pytest.mark.usefixtures("memory", "served")
async def test_deleted_document_is_gone(client: Client) -> None:
    await client.send(batch(FACTS[1]))
    await client.job()
    gone = await client.ask(DeleteDocument(document_id="doc-1"), DocumentDeleted)
    assert gone.document_id == "doc-1"
    assert await client.search("crane") == ()
    assert await client.row() is None
    again, missing = await client.refused(DeleteDocument(document_id="doc-1")), GetDocument(document_id="doc-1")
    assert (again.status, again.code) == (404, "document_not_found")
    assert (await client.refused(missing)).status == 404


@pytest.mark.usefixtures("served")
async def test_deleted_document_takes_its_bytes_along(app: Start, client: Client, tmp_path: Path) -> None:
    blobs = open_blobs(f"file://{tmp_path}/blobs")
    ref = await blobs.put(b"The crane lifts forty tonnes.")
    async with app(blob_grace_s=0.0).lifespan():
        await client.send(batch(FACTS[1]).model_copy(update={"blob": str(ref)}))
        await client.job()
        assert await blobs.exists(ref)
        await client.ask(DeleteDocument(document_id="doc-1"), DocumentDeleted)
        async with asyncio.timeout(20):
            while await blobs.exists(ref):
                await asyncio.sleep(0.05)


@pytest.mark.usefixtures("memory", "served")
async def test_deleting_ends_a_running_job(client: Client) -> None:
    await client.queue()
    await client.until(bool)
    await client.ask(DeleteDocument(document_id="doc-1"), DocumentDeleted)
    await client.send(*(batch(fact, number=number, batches=2) for number, fact in enumerate(FACTS[:2])))
    job = await client.job()
    assert (job.status, job.error and job.error.code) == ("cancelled", "document_deleted")
    assert await client.row() is None
    assert await client.search("crane") == ()


@pytest.mark.usefixtures("memory", "hasty")
async def test_cancel_reaches_a_waiting_batch(client: Client, engine: Engine, lane: Bus) -> None:
    await client.queue()
    await client.send(batch(FACTS[0], batches=2))
    await client.until(bool)
    await asyncio.sleep(0.3)
    await client.bus.cancel("job-1")
    await client.until(lambda found: found is None)
    engine.serve(lane)
    await client.send(batch(FACTS[1], number=1, batches=2))
    job = await client.job()
    assert (job.status, job.error and job.error.code) == ("cancelled", "cancelled")
    assert await client.search("pier crane") == ()


@pytest.mark.usefixtures("memory", "served")
async def test_tenants_see_only_their_own(client: Client) -> None:
    await client.send(batch(FACTS[1]), tenant="one")
    await client.job()
    await client.chatted("I keep bees", "Lovely", tenant="one")
    turns = await client.remembered(2, tenant="one")
    assert await client.search("crane", tenant="one")
    assert await client.search("crane", tenant="two") == ()
    assert await client.recall("bees", tenant="two") == ()
    assert (await client.ask(ListDocuments(), DocumentsFound, tenant="two")).documents == ()
    assert (await client.ask(GetLibraryStats(), LibraryStats, tenant="two")).memories == 0
    for query in (
        GetDocument(document_id="doc-1"),
        DeleteDocument(document_id="doc-1"),
        GetMemory(memory_id=turns[0].id),
        ForgetMemory(memory_id=turns[0].id),
    ):
        with pytest.raises(RequestFailed):
            await client.ask(query, Message, tenant="two")
    assert len(await client.remembered(2, tenant="one")) == 2


@pytest.mark.usefixtures("memory", "served")
async def test_turns_are_remembered_and_forgotten(client: Client) -> None:
    await client.chatted("I live in Turin with two cats", "Noted!", id="exchange")
    await client.chatted("The weather is fine", "")
    turns = await client.remembered(3)
    best = (await client.recall("How many cats live in Turin?"))[0]
    assert sorted((turn.role, turn.session) for turn in turns) == [("assistant", "s"), ("user", "s"), ("user", "s")]
    assert best.text.startswith("I live in Turin")
    assert best.similarity
    assert best.similarity > 0.5
    assert (await client.ask(GetMemory(memory_id=best.id), MemoriesFound)).items[0].text == best.text
    await client.ask(ForgetMemory(memory_id=best.id), MemoryForgotten)
    assert best.id not in {item.id for item in await client.recall("cats in Turin")}
    missing = await client.refused(ForgetMemory(memory_id=best.id))
    assert (missing.status, missing.code) == (404, "memory_not_found")
    assert (await client.refused(GetMemory(memory_id=best.id))).status == 404


@pytest.mark.usefixtures("memory", "served")
async def test_what_is_remembered_is_told(client: Client) -> None:
    await client.chatted("I live in Turin", "")
    (turn,) = await client.remembered(1)
    await client.ask(ForgetMemory(memory_id=turn.id), MemoryForgotten)
    told: list[Message] = []
    async with asyncio.timeout(10):
        async for received in client.bus.follow(MEMORY_EVENTS, since=timedelta(minutes=1)):
            if received:
                told.append(received.message)
            if len(told) == 2:
                break
    assert told == [MemoryStored(memory_id=turn.id, session="s"), MemoryForgotten(memory_id=turn.id)]


@pytest.mark.usefixtures("memory", "hasty")
async def test_exchanges_wait_for_their_engine(client: Client, engine: Engine, lane: Bus) -> None:
    for number in range(6):
        await client.chatted(f"I live in house number {number}", "", id=f"exchange-{number}")
    await asyncio.sleep(0.3)
    engine.serve(lane)
    await client.remembered(6)
    assert all(item.similarity is not None for item in await client.recall("Which house?"))


@pytest.mark.usefixtures("memory")
async def test_refused_exchange_is_remembered_by_words(client: Client, served: Engine) -> None:
    served.problem = Problem(code="bad_texts", message="Too odd.", next_step="Clean them.", status=400)
    await client.chatted("I live in Turin", "")
    await client.remembered(1)
    assert len(served.asked) == 1


@pytest.mark.usefixtures("memory", "hasty")
async def test_turns_without_vectors_are_found_by_words(client: Client) -> None:
    await client.chatted("I live in Turin", "")
    await client.remembered(1)
    (found,) = await client.recall("Turin")
    assert (found.text, found.similarity) == ("I live in Turin", None)


async def test_memory_is_ready_and_alive(memory: App, client: Client) -> None:
    assert await client.search("anything") == ()
    assert await memory.ready["bus"]() is None
    assert memory.live() is None
