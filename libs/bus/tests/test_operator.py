"""What an operator sees and does."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta

import pytest
from bus_peers import COMPLETED, client_of
from redis.asyncio import Redis

from archive_bus import (
    Bus,
    BusOptions,
    BusUnavailable,
    Delivery,
    NoSuchDeadLetter,
    NoSuchGroup,
    Operator,
    Origin,
    Reject,
    RequestFailed,
    Retry,
    ServerMemory,
    TailEntry,
    connect,
)
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted, ChatRequested
from archive_contracts.documents import IngestDocument
from archive_contracts.jobs import JobQueued
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS, DOCUMENT_COMMANDS, JOBS_JOURNAL, dead_letters
from archive_testkit.servers import free_port
from archive_testkit.waiting import eventually

INGEST = IngestDocument(job_id="j", document_id="d", blob="", filename="a.txt", size=1)
CHAT = ChatRequested(body="{}", model="m")


@pytest.fixture
async def operator(redis_url: str) -> AsyncGenerator[Operator, None]:
    async with Operator(redis_url, redis_url) as operator:
        yield operator


def bus_of(service: str, url: str) -> Bus:
    return connect(url, url, BusOptions(service=service, grace_s=2.0))


async def reject(delivery: Delivery[ChatRequested]) -> None:
    raise Reject(Problem(code="no_lane", message="nobody serves é"))


async def bury(url: str, operator: Operator, count: int) -> None:
    """Leave dead letters behind."""
    async with bus_of("router", url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: reject})
        for number in range(count):
            await router.publish(CHAT.model_copy(update={"model": str(number)}), to=CHAT_REQUESTS)
        async with asyncio.timeout(10):
            while len(await operator.dead_letters()) < count:
                await asyncio.sleep(0.01)


@pytest.mark.guarantee("G16")
async def test_lag_and_pending_are_told_apart(redis_url: str, operator: Operator) -> None:
    holding = asyncio.Event()

    async def hold(delivery: Delivery[ChatRequested]) -> None:
        holding.set()
        await asyncio.sleep(60)

    async with connect(redis_url, redis_url, BusOptions(service="router", grace_s=0.0)) as router:
        await router.append(JobQueued(job_id="j", kind="ingest"), to=JOBS_JOURNAL, entity="j")
        router.subscribe(CHAT_REQUESTS, {ChatRequested: hold}, concurrency=1, prefetch=1)
        for _ in range(3):
            await router.publish(CHAT, to=CHAT_REQUESTS)
        await holding.wait()
        (report,) = [each for each in await operator.streams() if each.stream == "chat.requests"]
    (group,) = report.groups
    assert (report.key, report.partition, report.length) == ("{chat.requests:0}", "0", 3)
    assert (group.name, group.lag, group.pending, group.consumers, group.dead) == ("router", 2, 1, 1, 0)
    assert report.oldest_s is not None


async def test_journals_are_not_listed(redis_url: str, operator: Operator) -> None:
    async with bus_of("gateway", redis_url) as gateway:
        await gateway.append(JobQueued(job_id="j", kind="ingest"), to=JOBS_JOURNAL, entity="j")
        # Only the stream that lists them.
        assert [report.stream for report in await operator.streams()] == ["jobs.queued"]


@pytest.mark.guarantee("G5")
async def test_dead_letters_tell_why(redis_url: str, operator: Operator) -> None:
    await bury(redis_url, operator, 3)
    letters = await operator.dead_letters(stream="chat.requests", group="router")
    assert len(letters) == 3
    assert len(await operator.dead_letters(limit=2)) == len(await operator.dead_letters(reason="no_lane", limit=2)) == 2
    assert await operator.dead_letters(reason="other") == []
    assert await operator.dead_letters(stream="chat.events") == await operator.dead_letters(group="memory") == []
    letter = await operator.dead_letter(letters[0].id)
    assert (letter.code, letter.cause, letter.type) == ("no_lane", "nobody serves é", ChatRequested.type)
    assert letter.attempts == 1
    assert ChatRequested.model_validate_json(letter.fields[b"data"]).model in {"0", "1", "2"}
    assert [each.at for each in letters] == sorted((each.at for each in letters), reverse=True)


@pytest.mark.guarantee("G5")
async def test_replayed_letter_is_handled(redis_url: str, operator: Operator) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.message.model)

    await bury(redis_url, operator, 1)
    (letter,) = await operator.dead_letters()
    await operator.replay(letter)
    assert await operator.dead_letters() == []
    async with bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        async with asyncio.timeout(10):
            while seen != ["0"]:
                await asyncio.sleep(0.01)


@pytest.mark.guarantee("G5")
async def test_replay_reaches_the_failed_group_only(redis_url: str, operator: Operator) -> None:
    failing = True
    seen: dict[str, list[str]] = {"librarian": [], "memory": []}

    async def read(delivery: Delivery[IngestDocument]) -> None:
        if failing:
            raise Reject(Problem(code="bad", message="bad"))
        seen["librarian"].append(delivery.message.document_id)

    async def index(delivery: Delivery[IngestDocument]) -> None:
        seen["memory"].append(delivery.message.document_id)

    async with bus_of("librarian", redis_url) as librarian, bus_of("memory", redis_url) as memory:
        librarian.subscribe(DOCUMENT_COMMANDS, {IngestDocument: read})
        memory.subscribe(DOCUMENT_COMMANDS, {IngestDocument: index})
        for number in range(5):
            message = INGEST.model_copy(update={"document_id": str(number)})
            await librarian.publish(message, to=DOCUMENT_COMMANDS)
        await eventually(lambda: librarian.counters().get(("documents.commands", "dead")) == 5)
        await eventually(lambda: len(seen["memory"]) == 5)
        failing = False
        letters = sorted(await operator.dead_letters(), key=lambda letter: letter.at)
        one, two = await asyncio.gather(operator.replay_all(letters), operator.replay_all(letters))
        assert len(one) + len(two) == 5
        with pytest.raises(NoSuchDeadLetter):
            await operator.replay(letters[0])
        await eventually(lambda: memory.counters().get(("documents.commands", "done")) == 5)
        await eventually(lambda: len(seen["librarian"]) == 5)
    assert sorted(seen["librarian"]) == sorted(seen["memory"]) == ["0", "1", "2", "3", "4"]


@pytest.mark.guarantee("G5")
async def test_replayed_letter_gets_its_attempts_anew(redis_url: str, operator: Operator) -> None:
    attempts: list[int] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        attempts.append(delivery.attempt)
        raise Retry("no", delay_s=0.0)

    async with bus_of("router", redis_url) as router:
        router.subscribe(replace(CHAT_REQUESTS, lease=timedelta(seconds=1)), {ChatRequested: handle})
        await router.publish(CHAT, to=CHAT_REQUESTS)
        await eventually(lambda: router.counters().get(("chat.requests", "dead")) == 1)
        (letter,) = await operator.dead_letters()
        await operator.replay(letter)
        await eventually(lambda: router.counters().get(("chat.requests", "dead")) == 2)
        assert len(await operator.dead_letters()) == 1
    assert attempts == [1, 2, 3, 4, 5] * 2


@pytest.mark.guarantee("G5")
async def test_replayed_request_runs_past_its_deadline(redis_url: str, operator: Operator) -> None:
    runs: list[Origin] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        runs.append(delivery.origin)
        if len(runs) == 1:
            raise Reject(Problem(code="bad", message="bad"))
        await delivery.publish(COMPLETED, to=CHAT_EVENTS)

    async with bus_of("gateway", redis_url) as gateway, bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        with pytest.raises(RequestFailed):
            await gateway.request(CHAT, ChatCompleted, to=CHAT_REQUESTS, timeout=30)
        await eventually(lambda: router.counters().get(("chat.requests", "dead")) == 1)
        async with client_of(redis_url) as client:
            ((raw, fields),) = await client.xrange(dead_letters(CHAT_REQUESTS.physical(), "router"))
            await client.xdel(dead_letters(CHAT_REQUESTS.physical(), "router"), raw)
            past = {**fields, b"raw.deadline": b"1"}  # as when nobody looks at it for a day
            await client.xadd(dead_letters(CHAT_REQUESTS.physical(), "router"), past)
        (letter,) = await operator.dead_letters()
        await operator.replay(letter)
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
    assert runs[0].deadline > 0
    assert runs[0].reply != ""
    assert (runs[1].deadline, runs[1].reply) == (0, "")


async def test_letter_that_is_gone_stops_no_replay(redis_url: str, operator: Operator) -> None:
    await bury(redis_url, operator, 3)
    newest, middle, oldest = await operator.dead_letters()
    await operator.drop(middle)
    assert await operator.replay_all([newest, middle, oldest]) == [oldest, newest]
    async with client_of(redis_url) as client:
        put_back = [fields[b"data"] for _, fields in await client.xrange(CHAT_REQUESTS.physical())][-2:]
    assert put_back == [oldest.fields[b"data"], newest.fields[b"data"]]


async def test_dropped_letter_is_gone(redis_url: str, operator: Operator) -> None:
    await bury(redis_url, operator, 2)
    first, second = await operator.dead_letters()
    await operator.drop(first)
    assert await operator.dead_letters() == [second]
    with pytest.raises(NoSuchDeadLetter):
        await operator.dead_letter(first.id)


async def test_dropped_letters_are_named(redis_url: str, operator: Operator) -> None:
    await bury(redis_url, operator, 3)
    letters = await operator.dead_letters()
    await operator.drop(letters[1])
    assert await operator.drop_all(letters) == [letters[0], letters[2]]
    assert await operator.dead_letters() == []


async def test_consumers_are_named(redis_url: str, operator: Operator) -> None:
    assert await operator.consumers(CHAT_REQUESTS, "router") == []
    async with bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: reject})
        await router.publish(CHAT, to=CHAT_REQUESTS)
        await eventually(lambda: router.counters().get(("chat.requests", "dead")) == 1)
        (consumer,) = await operator.consumers(CHAT_REQUESTS, "router")
    assert consumer.name
    assert consumer.seen_s >= 0
    assert await operator.consumers(CHAT_REQUESTS, "nobody") == []


async def test_tail_shows_what_comes(redis_url: str, operator: Operator) -> None:
    async with bus_of("gateway", redis_url) as gateway, Redis.from_url(redis_url) as client:  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        await gateway.publish(CHAT, to=CHAT_REQUESTS, id="old")
        tail = operator.tail(CHAT_REQUESTS)
        got: list[TailEntry] = []

        async def follow() -> None:
            async for entry in tail:
                got.append(entry)
                if len(got) == 2:
                    return

        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow())
            await asyncio.sleep(1.2)  # longer than one read
            await gateway.publish(CHAT, to=CHAT_REQUESTS, id="new")
            await client.xadd(CHAT_REQUESTS.physical(), {"foreign": "entry"})
            await following
    assert got[0].envelope is not None
    assert got[0].envelope.id == "new"
    assert got[1].envelope is None
    assert "type" in got[1].problem


async def test_memory_is_told_with_its_limit(redis_url: str, operator: Operator) -> None:
    bus = (await operator.memory())["bus"]
    assert 0 < bus.used < bus.limit
    assert 0 < bus.free < 1
    assert ServerMemory(used=5, limit=0).free == 0.0


async def test_journals_are_read_by_entity(redis_url: str, operator: Operator) -> None:
    async with bus_of("gateway", redis_url) as gateway:
        for job in ("a", "b", "a"):
            queued = JobQueued(job_id=job, kind="ingest")
            await gateway.append(queued, to=JOBS_JOURNAL, entity=job)
    assert sorted(await operator.messages.entities(JOBS_JOURNAL)) == ["a", "b"]
    read = await operator.messages.journals(JOBS_JOURNAL, ["a", "gone"])
    assert [entry.envelope.type for entry in read["a"] if entry.envelope] == ["job.queued.v1"] * 2
    assert read["gone"] == []


async def test_absent_server_is_said() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    async with Operator(url, url) as operator:
        with pytest.raises(BusUnavailable):
            await operator.streams()
        assert all((await operator.check()).values())


async def test_dropped_group_is_gone(redis_url: str, operator: Operator) -> None:
    async with bus_of("router", redis_url) as router:
        await router.publish(CHAT, to=CHAT_REQUESTS)
    dropped = await operator.drop_group(CHAT_REQUESTS, "router")
    assert (dropped.name, dropped.lag, dropped.consumers, dropped.seen_s) == ("router", 1, 0, None)
    (report,) = await operator.streams()
    assert (report.length, report.groups) == (1, ())
    with pytest.raises(NoSuchGroup):
        await operator.drop_group(CHAT_REQUESTS, "router")


@pytest.mark.guarantee("G16")
async def test_oldest_unsettled_is_told(redis_url: str, operator: Operator) -> None:
    key, hour_ago = CHAT_REQUESTS.physical(), int(time.time() - 3600) * 1000
    async with Redis.from_url(redis_url) as client:  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        await client.xgroup_create(key, "router", id="0", mkstream=True)
        await client.xadd(key, {b"type": b"x"}, id=f"{hour_ago}-0")
        await client.xadd(key, {b"type": b"x"})
        assert 3595 < await oldest(operator) < 3700
        await client.xreadgroup("router", "me", {key: ">"}, count=1)
        assert 3595 < await oldest(operator) < 3700
        await client.xack(key, "router", f"{hour_ago}-0")
        assert await oldest(operator) < 100


async def oldest(operator: Operator) -> float:
    (report,) = await operator.streams()
    (group,) = report.groups
    assert group.oldest_s is not None
    return group.oldest_s
