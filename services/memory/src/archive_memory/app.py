"""Wiring of memory."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from archive_blobs import open_blobs
from archive_bus import Bus, BusOptions, connect
from archive_contracts.chat import ChatCompleted
from archive_contracts.documents import DeleteDocument, DocumentChunked, DocumentFailed, IngestDocument
from archive_contracts.memory import (
    ForgetMemory,
    ForgetSession,
    GetDocument,
    GetDocumentText,
    GetLibraryStats,
    GetMemory,
    ListDocuments,
    ListMemories,
    RecallMemories,
    SearchChunks,
)
from archive_contracts.streams import (
    CHAT_EVENTS,
    DOCUMENT_CHUNKS,
    DOCUMENT_COMMANDS,
    DOCUMENT_EVENTS,
    MEMORY_COMMANDS,
    MEMORY_QUERIES,
)
from archive_memory.adapters.loose import LooseBlobs
from archive_memory.adapters.store import Store
from archive_memory.handlers.documents import Documents
from archive_memory.handlers.embedding import Embedder
from archive_memory.handlers.library import Library
from archive_memory.handlers.turns import Turns
from archive_memory.settings import Settings
from archive_telemetry import App, bind_log, run_service, tracer_for

NAME = "memory"
PARTITION_FILE = "mem-0.db"
PRUNE_EVERY_S = 3600.0
SWEEP_EVERY_S = 0.2


def build(settings: Settings) -> App:
    """Return memory, wired and not yet started."""
    blobs = open_blobs(settings.blobs_url)
    bus = connect(
        settings.bus_url,
        settings.state_url,
        BusOptions(service=NAME, grace_s=settings.grace_s, tracer=tracer_for(NAME), bind=bind_log),
        blobs=blobs,
    )
    store = Store(settings.dir / PARTITION_FILE, backend=settings.index)
    loose = LooseBlobs(store, blobs, grace_s=settings.blob_grace_s)

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with store, bus, asyncio.TaskGroup() as tasks:
            _subscribe(bus, store, settings)
            chores = [tasks.create_task(_prune(store)), tasks.create_task(_sweep(loose, every_s=settings.blob_grace_s))]
            yield
            for chore in chores:
                chore.cancel()

    return App(
        name=NAME,
        lifespan=lifespan,
        ready={"bus": bus.check},
        live=bus.live,
        health_host=settings.health_host,
        health_port=settings.health_port,
    )


def _subscribe(bus: Bus, store: Store, settings: Settings) -> None:
    embedder = Embedder(settings.embed_pool, patience_s=settings.embed_patience_s)
    documents, library, turns = Documents(store, embedder), Library(store, embedder), Turns(store, embedder)
    bus.subscribe(DOCUMENT_COMMANDS, {IngestDocument: documents.queue})
    bus.subscribe(
        DOCUMENT_CHUNKS,
        {DocumentChunked: documents.add},
        concurrency=settings.batches_at_once,
        prefetch=1,
        on_dead={DocumentChunked: documents.give_up},
    )
    bus.subscribe(DOCUMENT_EVENTS, {DocumentFailed: documents.failed})
    bus.subscribe(
        MEMORY_COMMANDS,
        {DeleteDocument: documents.delete, ForgetMemory: turns.forget, ForgetSession: turns.forget_session},
    )
    bus.subscribe(CHAT_EVENTS, {ChatCompleted: turns.remember}, concurrency=4)
    bus.subscribe(
        MEMORY_QUERIES,
        {
            SearchChunks: library.search,
            ListDocuments: library.page,
            GetDocument: library.get,
            GetDocumentText: library.text,
            GetLibraryStats: library.stats,
            RecallMemories: turns.recall,
            ListMemories: turns.page,
            GetMemory: turns.get,
        },
        concurrency=32,
    )


async def _prune(store: Store) -> None:
    while True:
        await asyncio.sleep(PRUNE_EVERY_S)
        await store.prune()


async def _sweep(loose: LooseBlobs, *, every_s: float) -> None:
    while True:
        await asyncio.sleep(max(every_s, SWEEP_EVERY_S))
        await loose.sweep()


def main() -> None:
    """Run until told to stop."""
    run_service(NAME, Settings, build)
