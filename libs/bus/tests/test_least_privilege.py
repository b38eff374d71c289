"""The bus works with no more rights than the map gives a service, on both server versions."""

import asyncio
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bus_peers import CHAT, STATS, bus_of, client_of, ready
from prometheus_client import REGISTRY

from archive_bus import Bus, Delivery, Operator, Reject, Retry, _consumer, _trimming
from archive_contracts import access
from archive_contracts.access import Flavour
from archive_contracts.base import Problem
from archive_contracts.chat import ChatRequested
from archive_contracts.documents import IngestDocument
from archive_contracts.engine import EmbedRequested
from archive_contracts.jobs import JobQueued
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import (
    CHAT_REQUESTS,
    DOCUMENT_COMMANDS,
    ENGINE_JOBS,
    JOBS_JOURNAL,
    MEMORY_QUERIES,
    REPLIES,
    dead_letters,
)
from archive_testkit.servers import RedisServer, server_binary
from archive_testkit.waiting import eventually

BINARIES = {Flavour.VALKEY_9: server_binary(), Flavour.REDIS_7_0: shutil.which("redis-server")}


@pytest.fixture(params=list(Flavour))
def closed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A server whose users are those of the map; the test is its administrator."""
    if (binary := BINARIES[request.param]) is None:
        pytest.skip("redis-server is not on the path")
    users = (access.line(user, access.selectors(user), request.param, passwords=[user]) for user in access.USERS)
    (tmp_path / "users.acl").write_text("\n".join(["user default on nopass ~* &* +@all", *users]) + "\n")
    server = RedisServer(tmp_path, binary=binary, options=["--aclfile", str(tmp_path / "users.acl")]).start()
    yield server
    server.stop()


def as_service(service: str, server: RedisServer) -> Bus:
    return bus_of(service, server.url.replace("redis://", f"redis://{service}:{service}@"))


async def refusals(server: RedisServer) -> list[str]:
    async with client_of(server.url) as admin:
        entries: Any = await admin.acl_log()
        return [f"{entry[b'username']}: {entry[b'object']}" for entry in entries]


async def test_unseen_setting_is_not_taken_for_safe(closed: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    url = closed.url.replace("redis://", "redis://gateway:gateway@")
    async with client_of(closed.url) as admin:
        await admin.config_set("appendonly", "yes")
        await admin.config_set("appendfsync", "everysec")
        async with bus_of("gateway", f"{url}?durability=aof", state=url) as gateway:
            await ready(gateway)
        await admin.config_set("appendonly", "no")  # a server that writes its first file does not end
    assert "may not see whether appendfsync is always" in caplog.text


async def test_work_is_settled_without_a_refusal(closed: RedisServer) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        name = delivery.message.model
        seen.append(name)
        if name == "again" and delivery.attempt == 1:
            raise Retry("once more", delay_s=0.1)
        if name == "bad":
            raise Reject(Problem(code="bad", message="never"))

    async with as_service("gateway", closed) as gateway, as_service("router", closed) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        for name in ("good", "again", "bad"):
            await gateway.publish(CHAT.model_copy(update={"model": name}), to=CHAT_REQUESTS)
        late = CHAT.model_copy(update={"model": "late"})
        await gateway.publish(late, to=CHAT_REQUESTS, delay=timedelta(seconds=0.2))
        await eventually(lambda: sorted(seen) == ["again", "again", "bad", "good", "late"])
        async with client_of(closed.url) as admin:
            dead = dead_letters(CHAT_REQUESTS.physical(), "router")
            while not await admin.xlen(dead) or (await admin.xpending(CHAT_REQUESTS.physical(), "router"))["pending"]:
                await asyncio.sleep(0.02)
    assert await refusals(closed) == []


async def test_questions_and_journals_need_no_more(closed: RedisServer) -> None:
    async def answer(delivery: Delivery[GetLibraryStats]) -> None:
        await delivery.reply(STATS)

    async with as_service("gateway", closed) as gateway, as_service("memory", closed) as memory:
        memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: answer})
        async with client_of(closed.url) as admin:
            while not await admin.exists(REPLIES.physical(gateway.process)):
                await asyncio.sleep(0.02)
        assert await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES) == STATS
        await gateway.append(JobQueued(job_id="j", kind="ingest"), to=JOBS_JOURNAL, entity="j")
        assert len(await gateway.journal(JOBS_JOURNAL, "j")) == 1
        await gateway.cancel("j")
    assert await refusals(closed) == []


async def test_watching_leaves_other_groups_alone(closed: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_consumer, "LOOK_S", 0.05)

    async def handle(delivery: Delivery[IngestDocument]) -> None:
        del delivery

    async with as_service("memory", closed) as memory, as_service("librarian", closed) as librarian:
        for bus in (memory, librarian):
            bus.subscribe(DOCUMENT_COMMANDS, {IngestDocument: handle})
        lag = {"service": "memory", "stream": "documents.commands", "partition": "0"}
        await eventually(lambda: REGISTRY.get_sample_value("archive_bus_lag", lag) == 0)
    assert await refusals(closed) == []


async def test_publisher_trims_what_is_handled(closed: RedisServer) -> None:
    async def handle(delivery: Delivery[ChatRequested]) -> None:
        del delivery

    async with as_service("gateway", closed) as gateway, as_service("router", closed) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        await gateway.publish(CHAT, to=CHAT_REQUESTS)
        async with client_of(closed.url) as admin:
            while await admin.xlen(CHAT_REQUESTS.physical()):
                await asyncio.sleep(0.02)
    assert await refusals(closed) == []


async def test_publisher_trims_for_dropped_groups(closed: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trimming, "TRIM_S", 0.1)
    async with (
        as_service("gateway", closed) as gateway,
        Operator(closed.url, closed.url) as operator,
        client_of(closed.url) as admin,
    ):
        await gateway.publish(CHAT, to=CHAT_REQUESTS)
        await operator.drop_group(CHAT_REQUESTS, "router")
        while await admin.xlen(CHAT_REQUESTS.physical()):
            await asyncio.sleep(0.02)
    assert await refusals(closed) == []


async def test_lane_is_looked_after_by_its_reader(closed: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trimming, "TRIM_S", 0.1)

    async def handle(delivery: Delivery[EmbedRequested]) -> None:
        del delivery

    job, lane = EmbedRequested(texts=("text",)), ENGINE_JOBS.physical("small")
    async with as_service("router", closed) as router:
        await router.publish(job, to=ENGINE_JOBS, partition="small")
        await router.publish(job, to=ENGINE_JOBS, partition="small", delay=timedelta(seconds=0.2))
    async with as_service("engine", closed) as engine, client_of(closed.url) as admin:
        engine.subscribe(ENGINE_JOBS, {EmbedRequested: handle}, partition="small")
        await eventually(lambda: engine.counters().get(("engine.jobs", "done")) == 2)
        while await admin.xlen(lane):
            await asyncio.sleep(0.02)
    assert await refusals(closed) == []
