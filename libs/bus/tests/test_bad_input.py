"""What is wrong with a message, a server or an address has an error of its own, with what to do."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from bus_peers import CHAT, COMPLETED, bus_of, client_of, ready

import archive_bus
from archive_bus import (
    BadAddress,
    BusError,
    BusOptions,
    DeadlineExpired,
    Delivery,
    Durability,
    EvictingServer,
    NotDurable,
    Operator,
    Origin,
    Oversize,
    PayloadError,
    RequestFailed,
    ServerTooOld,
    WrongAnswer,
    WrongPassword,
    _errors,
    _writer,
    connect,
)
from archive_bus._addresses import address_of
from archive_contracts.chat import ChatCompleted, ChatRequested
from archive_contracts.envelope import INLINE_LIMIT
from archive_contracts.jobs import JobQueued
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import CHAT_REQUESTS, JOBS_JOURNAL, MEMORY_QUERIES
from archive_testkit.servers import RedisServer
from archive_testkit.waiting import eventually

KEY, KIND = CHAT_REQUESTS.physical(), ChatRequested.type


async def take(delivery: Delivery[ChatRequested]) -> None:
    del delivery


async def end_of(url: str, kind: type[BusError]) -> BaseException:
    """Run a service where it can never work; return what ends it."""
    found: BaseException | None = None
    try:
        await serve(url)
    except* kind as group:
        found = group.exceptions[0]
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped groups
    assert isinstance(found, kind)
    return found


async def serve(url: str) -> None:
    async with asyncio.timeout(20), bus_of("router", url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: take})
        await asyncio.sleep(20)


@pytest.mark.guarantee("G5")
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"type": KIND, "data": b"\xff\xfe"}, "undecodable"),
        ({"type": KIND, "data": "{}"}, "undecodable"),
        ({"nothing": "useful"}, "undecodable"),
        ({"type": "no.such.v1", "data": "{}"}, "unknown_type"),
        ({"type": KIND.replace(".v1", ".v99"), "data": "{}"}, "unknown_version"),
        ({"type": GetLibraryStats.type, "data": "{}"}, "unknown_type"),
        ({"type": KIND, "data": "blob:sha256:zz"}, "payload_error"),
    ],
)
async def test_unreadable_message_is_buried_at_once(redis_url: str, fields: dict[str, str | bytes], code: str) -> None:
    async with (
        bus_of("router", redis_url) as router,
        client_of(redis_url) as client,
        Operator(redis_url, redis_url) as operator,
    ):
        await client.xadd(KEY, fields)
        router.subscribe(CHAT_REQUESTS, {ChatRequested: take})
        await eventually(lambda: router.counters().get(("chat.requests", "dead")) == 1)
        (letter,) = await operator.dead_letters()
    assert (letter.code, letter.attempts) == (code, 0)
    assert "\n" not in letter.cause


@pytest.mark.guarantee("G5")
async def test_returned_value_is_an_error(redis_url: str) -> None:
    runs: list[int] = []

    async def handle(delivery: Delivery[ChatRequested]) -> int:
        runs.append(delivery.attempt)
        return 1

    async with bus_of("gateway", redis_url) as gateway, bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})  # pyright: ignore[reportArgumentType] - the point
        with pytest.raises(RequestFailed) as caught:
            await gateway.request(CHAT, ChatCompleted, to=CHAT_REQUESTS)
    assert caught.value.problem().code == "wrong_return"
    assert runs == [1]


@pytest.mark.guarantee("G13")
async def test_wrong_answer_is_told(redis_url: str) -> None:
    async def answer(delivery: Delivery[GetLibraryStats]) -> None:
        await delivery.reply(COMPLETED)

    async with bus_of("gateway", redis_url) as gateway, bus_of("memory", redis_url) as memory:
        memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: answer})
        with pytest.raises(WrongAnswer):
            await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES)


@pytest.mark.guarantee("G13")
async def test_expired_deadline_publishes_nothing(redis_url: str) -> None:
    late = Origin(deadline=int(time.time() * 1000) - 1)
    async with bus_of("gateway", redis_url) as gateway, client_of(redis_url) as client:
        with pytest.raises(DeadlineExpired):
            await gateway.request(CHAT, ChatCompleted, to=CHAT_REQUESTS, origin=late)
        assert not await client.exists(KEY)


async def test_unsayable_name_harms_nobody_else(redis_url: str) -> None:
    async with bus_of("gateway", redis_url) as gateway:
        with pytest.raises(PayloadError):
            await gateway.append(JobQueued(job_id="j", kind="ingest"), to=JOBS_JOURNAL, entity="\ud800")
        assert await gateway.publish(CHAT, to=CHAT_REQUESTS, id="next") == "next"


async def test_oversize_needs_a_blob_store(redis_url: str) -> None:
    async with bus_of("gateway", redis_url) as gateway:
        with pytest.raises(Oversize):
            await gateway.publish(CHAT.model_copy(update={"body": "x" * INLINE_LIMIT}), to=CHAT_REQUESTS)


async def test_wrong_password_is_said_at_once(redis_server: RedisServer) -> None:
    async with client_of(redis_server.url) as client:
        await client.config_set("requirepass", "right")
    url = redis_server.url.replace("redis://", "redis://:wrong@")
    assert "invalid username-password" in str(await end_of(url, WrongPassword))


async def test_old_server_is_refused(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writer, "OLDEST", (99, 0))
    assert "older than 99" in str(await end_of(redis_url, ServerTooOld))


@pytest.mark.parametrize(
    ("settings", "query", "told", "kind"),
    [
        ({"maxmemory-policy": "allkeys-lru"}, "", "maxmemory-policy is allkeys-lru", EvictingServer),
        ({"appendonly": "no"}, "?durability=aof", "appendonly is off", NotDurable),
        ({"appendfsync": "everysec"}, "?durability=aof", "appendfsync is everysec", NotDurable),
        ({}, "?durability=replicated", "no replica is connected", NotDurable),
    ],
)
async def test_unsafe_server_is_not_ready(
    redis_server: RedisServer, settings: dict[str, str], query: str, told: str, kind: type[BusError]
) -> None:
    async with client_of(redis_server.url) as client:
        for name, value in settings.items():
            await client.config_set(name, value)
    async with bus_of("gateway", redis_server.url + query, state=redis_server.url) as gateway:
        async with asyncio.timeout(60):
            while (complaint := await gateway.check()) == "the bus server does not answer":
                await asyncio.sleep(0.05)
    assert complaint
    assert told in complaint
    assert kind.next_step in complaint


async def test_unsafe_server_is_logged_at_start(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with client_of(redis_server.url) as client:
        await client.config_set("maxmemory-policy", "allkeys-lru")
    async with bus_of("gateway", redis_server.url):
        await eventually(lambda: "maxmemory-policy" in caplog.text)
    assert "maxmemory-policy is allkeys-lru" in caplog.text


async def test_durable_server_is_ready(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with bus_of("gateway", redis_server.url + "?durability=aof", state=redis_server.url) as gateway:
        await ready(gateway)
    # Not for want of sight either.
    assert "appendfsync" not in caplog.text


def test_watched_address_takes_all_of_its_query() -> None:
    url = "sentinel://me:mine@one,two:1/m/2?sentinel_password=theirs&health_check_interval=7&socket_timeout=9"
    pool: Any = address_of(url, Durability.MEMORY).pool()
    wanted = {"username": "me", "password": "mine", "db": 2, "health_check_interval": 7, "socket_timeout": 9.0}
    assert wanted.items() <= pool.connection_kwargs.items()
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"], each["password"]) for each in asked] == [
        ("one", 26379, "theirs"),
        ("two", 1, "theirs"),
    ]


@pytest.mark.parametrize(
    "url", ["http://host", "sentinel://host:1", "redis://host?durability=maybe", "sentinel://:1/m"]
)
def test_bad_address_is_said(url: str) -> None:
    with pytest.raises(BadAddress):
        connect(url, url, BusOptions(service="gateway"))


def test_every_error_says_what_to_do() -> None:
    kinds = [each for each in vars(_errors).values() if isinstance(each, type) and issubclass(each, BusError)]
    drawn = {line.strip("* ") for line in (Path(_errors.__file__).read_text().split('"""')[1]).splitlines()}
    assert len({kind.code for kind in kinds}) == len(kinds) > 20
    for kind in kinds:
        assert kind.next_step.endswith(".")
        assert kind.__name__ in drawn
        assert kind.__name__ in archive_bus.__all__
