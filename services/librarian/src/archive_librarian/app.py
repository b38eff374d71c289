"""Wiring of the librarian."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from archive_blobs import BlobError, Blobs, open_blobs
from archive_bus import BusOptions, Handler, connect
from archive_contracts.base import Message
from archive_contracts.documents import DocumentFailed, DocumentIngested, FetchDocument, IngestDocument
from archive_contracts.streams import DOCUMENT_COMMANDS, DOCUMENT_EVENTS
from archive_librarian.adapters.downloads import Downloads, Rules
from archive_librarian.adapters.dropbox import Dropbox
from archive_librarian.adapters.watch import WatchedFolder
from archive_librarian.adapters.workers import Extractor
from archive_librarian.domain.chunker import ChunkOptions
from archive_librarian.handlers.fetching import Fetching
from archive_librarian.handlers.ingesting import Dropped, Ingestion
from archive_librarian.settings import Settings
from archive_telemetry import App, bind_log, run_service, tracer_for

NAME = "librarian"


def build(settings: Settings) -> App:
    """Return the librarian, wired and not yet started."""
    blobs = open_blobs(settings.blobs_url)
    bus = connect(
        settings.bus_url,
        settings.state_url,
        BusOptions(service=NAME, grace_s=settings.grace_s, tracer=tracer_for(NAME), bind=bind_log),
        blobs=blobs,
    )
    options = ChunkOptions(settings.chunk_tokens, settings.chunk_overlap)
    dropbox = Dropbox(bus, blobs, tenant=settings.watch_tenant)
    folder = WatchedFolder(settings.watch_dir, dropbox.submit, ask=dropbox.outcome) if settings.watch_dir else None

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with Extractor(workers=settings.workers) as extractor, bus, asyncio.TaskGroup() as tasks:
            ingestion = Ingestion(extractor, blobs, options)
            fetching = Fetching(_downloads(settings), blobs)
            at_once = settings.documents_at_once
            bus.subscribe(
                DOCUMENT_COMMANDS,
                {IngestDocument: ingestion.ingest, FetchDocument: fetching.fetch},
                concurrency=at_once,
                prefetch=1,
                on_dead={IngestDocument: ingestion.give_up, FetchDocument: fetching.give_up},
            )
            # Without a folder the events are acknowledged unread: a group that reads nothing would pin the stream.
            bus.subscribe(DOCUMENT_EVENTS, _settling(folder) if folder else {}, concurrency=4)
            watching = tasks.create_task(folder.run(timedelta(seconds=settings.watch_every_s))) if folder else None
            yield
            if watching:
                watching.cancel()

    async def check_blobs() -> str | None:
        return await _complaint(blobs)

    return App(
        name=NAME,
        lifespan=lifespan,
        ready={"bus": bus.check, "blobs": check_blobs},
        live=bus.live,
        health_host=settings.health_host,
        health_port=settings.health_port,
    )


def _downloads(settings: Settings) -> Downloads:
    return Downloads(
        Rules(
            ports=settings.fetch_ports,
            allowed=settings.fetch_allow,
            most_bytes=int(settings.fetch_max_mb * 2**20),
            within_s=settings.fetch_timeout_s,
        )
    )


def _settling(folder: WatchedFolder) -> Mapping[type[Message], Handler[Any]]:
    dropped = Dropped(folder)
    return {DocumentIngested: dropped.ingested, DocumentFailed: dropped.failed}


async def _complaint(blobs: Blobs) -> str | None:
    try:
        await blobs.check()
    except BlobError as error:
        return str(error)
    return None


def main() -> None:
    """Run until told to stop."""
    run_service(NAME, Settings, build)
