"""Wiring of the console."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from archive_blobs import Blobs, open_blobs
from archive_bus import Bus, BusOptions, Operator, connect
from archive_console.adapters.answering import Answering
from archive_console.adapters.downloads import DownloadNotes
from archive_console.adapters.engines import EngineWatch
from archive_console.adapters.finding import Finder
from archive_console.adapters.jobs import JobBoard
from archive_console.adapters.keys import KeyFollower
from archive_console.adapters.live import Live
from archive_console.adapters.pages import PdfPages
from archive_console.adapters.secret import load_secret
from archive_console.adapters.shelves import Shelves
from archive_console.adapters.store import ConversationStore
from archive_console.adapters.templates import Templates
from archive_console.domain.door import Locks, Signer
from archive_console.handlers import Keeper
from archive_console.routes.asking import OFFERED
from archive_console.routes.desk import Desk, Door
from archive_console.routes.entry import Entry
from archive_console.settings import Settings
from archive_contracts.conversations import DeleteConversation, RecordAnswer, RecordQuestion, RenameConversation
from archive_contracts.streams import CONVERSATION_COMMANDS
from archive_telemetry import App, SettingError, bind_log, run_service, tracer_for
from archive_web import HttpServer, Packed

NAME = "console"
KEYS_S = 2.0
"""How long a start waits for the keys; until they are read, the operator's own key is the only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What runs as long as the console does."""

    bus: Bus
    blobs: Blobs
    store: ConversationStore
    answers: Answering
    shelves: Shelves
    engines: EngineWatch
    keys: KeyFollower
    live: Live
    pages: PdfPages


def build(settings: Settings) -> App:
    """Return the console, wired and not yet started."""
    parts = _parts(settings)
    desk = _desk(parts, settings)
    drain_s = settings.grace_s * 0.5
    server = HttpServer(Packed(Entry(desk)), service=NAME, host=settings.host, port=settings.port, drain_s=drain_s)

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with parts.store, desk.operator, parts.bus, asyncio.TaskGroup() as tasks:
            parts.live.use(tasks)
            _subscribe(parts.bus, Keeper(parts.store))
            background = tasks.create_task(_work(parts, settings.tenant))
            await _keys_known(parts.keys, settings)
            async with server.serving():
                yield
                desk.draining.set()
            background.cancel()
            parts.live.stop()
        parts.pages.close()

    return App(
        name=NAME,
        lifespan=lifespan,
        ready=desk.ready,
        live=parts.bus.live,
        health_host=settings.health_host,
        health_port=settings.health_port,
        info=lambda: {"url": server.url},
    )


def _parts(settings: Settings) -> _Parts:
    blobs = open_blobs(settings.blobs_url)
    options = BusOptions(service=NAME, grace_s=settings.grace_s * 0.4, tracer=tracer_for(NAME), bind=bind_log)
    bus = connect(settings.bus_url, settings.state_url, options, blobs=blobs)
    store = ConversationStore(settings.dir)
    return _Parts(
        bus=bus,
        blobs=blobs,
        store=store,
        answers=Answering(bus, store, timeout_s=settings.answer_timeout_s),
        shelves=Shelves(bus, clock=time.monotonic, most=OFFERED),
        engines=EngineWatch(bus, clock=time.monotonic),
        keys=KeyFollower(bus),
        live=Live(),
        pages=PdfPages(blobs),
    )


def _desk(parts: _Parts, settings: Settings) -> Desk:
    operator = Operator(*settings.operator_urls)
    return Desk(
        bus=parts.bus,
        operator=operator,
        blobs=parts.blobs,
        conversations=parts.store,
        downloads=DownloadNotes(settings.dir),
        answers=parts.answers,
        shelves=parts.shelves,
        live=parts.live,
        engines=parts.engines,
        finder=Finder(settings.engine_ports, clock=time.monotonic),
        jobs=JobBoard(operator, clock=time.monotonic),
        pages=parts.pages,
        templates=Templates(),
        door=Door(
            locks=Locks(parts.keys, key=settings.key, tenant=settings.tenant),
            tenant=settings.tenant,
            signer=Signer(load_secret(settings.dir), key=settings.key),
        ),
        max_upload=int(settings.max_upload_mb * 2**20),
        ready={"bus": parts.bus.check},
    )


async def _keys_known(keys: KeyFollower, settings: Settings) -> None:
    """Wait for the keys; without any, do not start where other machines can come in.

    Raises:
        SettingError: there is no key, and the address is not this machine's own.
    """
    if settings.exposed and not settings.key:
        book = await keys.loaded()
        if not book.keys:
            raise SettingError(
                f"CONSOLE_HOST is {settings.host!r}, which other machines can reach, and there is no key",
                next_step="set GATEWAY_API_KEY, or create a key with 'archive keys create', or use 127.0.0.1",
            )
    else:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KEYS_S):
                await keys.loaded()


async def _work(parts: _Parts, tenant: str) -> None:
    """Keep answers and the views of engines, keys and libraries until cancelled.

    An answer that is cut off here is read on after a restart.
    """
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(parts.engines.follow())
        tasks.create_task(parts.keys.follow())
        tasks.create_task(parts.shelves.begin(tenant, tasks))
        await parts.answers.resume(tasks)


def _subscribe(bus: Bus, keeper: Keeper) -> None:
    bus.subscribe(
        CONVERSATION_COMMANDS,
        {
            RecordQuestion: keeper.keep,
            RecordAnswer: keeper.keep,
            RenameConversation: keeper.keep,
            DeleteConversation: keeper.keep,
        },
        concurrency=1,
    )


def main() -> None:
    """Run until told to stop."""
    run_service(NAME, Settings, build)
