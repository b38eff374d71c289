"""What a server refuses to those who read without a group is told as an error of the bus."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from bus_peers import CHAT, bus_of, client_of

from archive_bus import Bus, BusUnavailable, Origin, PayloadError
from archive_contracts.chat import ChatDelta
from archive_contracts.jobs import JobQueued
from archive_contracts.streams import CHAT_REQUESTS, JOBS_JOURNAL
from archive_testkit.servers import RedisServer

JOURNAL = JOBS_JOURNAL.physical("j")
QUEUED = JobQueued(job_id="j", kind="ingest")


@pytest.fixture
async def barred(redis_server: RedisServer) -> AsyncGenerator[Bus, None]:
    """A bus whose credential may do anything but read ranges and look for marks."""
    rules = ("on", "nopass", "~*", "&*", "+@all", "-xrange", "-exists")
    async with client_of(redis_server.url) as client:
        await client.execute_command("ACL", "SETUSER", "barred", *rules)
        async with bus_of("gateway", redis_server.url.replace("redis://", "redis://barred:x@")) as bus:
            yield bus


async def test_journal_that_is_none_is_refused(redis_url: str) -> None:
    async with bus_of("gateway", redis_url) as gateway, client_of(redis_url) as client:
        await client.set(JOURNAL, "no stream")
        with pytest.raises(BusUnavailable, match="WRONGTYPE"):
            await gateway.journal(JOBS_JOURNAL, "j")
        await client.delete(JOURNAL)
        assert await gateway.journal(JOBS_JOURNAL, "j") == []


async def test_reader_without_the_right_is_told(barred: Bus) -> None:
    await barred.append(QUEUED, to=JOBS_JOURNAL, entity="j")
    with pytest.raises(BusUnavailable, match="no permissions"):
        await barred.journal(JOBS_JOURNAL, "j")
    with pytest.raises(BusUnavailable, match="no permissions"):
        await barred.cancelled("j")
    kept = Origin(log="the-answer")
    async with barred.open(CHAT, to=CHAT_REQUESTS, origin=kept):
        await barred.reply(ChatDelta(body="1"), origin=kept, seq=1, last=False)
        with pytest.raises(BusUnavailable, match="no permissions"):
            await barred.log(kept.log)


async def test_follower_waits_until_it_is_let_in(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with bus_of("gateway", redis_url) as gateway, client_of(redis_url) as client, asyncio.timeout(30):
        await client.set(JOURNAL, "no stream")
        following = gateway.follow_journal(JOBS_JOURNAL, "j")
        assert [await anext(following) for _ in range(3)] == [None] * 3
        assert caplog.text.count("WRONGTYPE") == 1
        await client.delete(JOURNAL)
        await gateway.append(QUEUED, to=JOBS_JOURNAL, entity="j")
        while (received := await anext(following)) is None:
            pass
        assert received.message == QUEUED


async def test_unsayable_journal_harms_nobody_else(redis_url: str) -> None:
    async with bus_of("gateway", redis_url) as gateway:
        with pytest.raises(PayloadError):
            await gateway.journal(JOBS_JOURNAL, "\ud800")
        assert await gateway.journal(JOBS_JOURNAL, "j") == []
