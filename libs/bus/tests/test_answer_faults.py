"""What readers, writers and connections that fail do to an answer that is kept while it streams."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from bus_peers import CHAT, COMPLETED, bus_of, client_of

from archive_bus import Bus, BusUnavailable, Delivery, NoSuchLog, Origin
from archive_contracts.chat import ChatDelta, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.servers import RedisServer

KEPT = Origin(log="the-answer")
READER = Path(__file__).parent / "apps" / "reader.py"


async def rest(bus: Bus, *, after: int) -> list[tuple[int, str]]:
    """Return the places and bodies of the deltas that follow."""
    answer = bus.follow_log(KEPT.log, after=after)
    return [(each.seq, each.message.body) async for each in answer if each and isinstance(each.message, ChatDelta)]


async def test_another_process_resumes_a_killed_reader(redis_url: str) -> None:
    async def speak(delivery: Delivery[ChatRequested]) -> None:
        for number in range(1, 301):
            _ = delivery.emit(ChatDelta(body=f"d{number}"))
            await asyncio.sleep(0.005)
        await delivery.reply(COMPLETED)

    async with bus_of("router", redis_url) as router, bus_of("gateway", redis_url) as gateway:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: speak})
        reader = await asyncio.create_subprocess_exec(sys.executable, str(READER), redis_url, KEPT.log, stdout=PIPE)
        assert reader.stdout
        heard = [(await reader.stdout.readline()).decode().split() for _ in range(50)]
        reader.kill()
        heard += [line.split() for line in (await reader.communicate())[0].decode().splitlines()]
        first = [(int(seq), body) for seq, body in heard]
        both = first + await rest(gateway, after=first[-1][0])
    assert both == [(number, f"d{number}") for number in range(1, 301)]


async def test_cut_connections_double_nothing_kept(redis_url: str) -> None:
    async with (
        bus_of("gateway", redis_url) as gateway,
        client_of(redis_url) as client,
        gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT),
    ):
        for number in range(1, 401):
            _ = gateway.reply(ChatDelta(body=str(number)), origin=KEPT, seq=number, last=False)
            if number % 40 == 0:
                await asyncio.sleep(0.002)
                await client.client_kill_filter(_type="normal", skipme=True)
        assert await gateway.reply(COMPLETED, origin=KEPT)
        assert await rest(gateway, after=0) == [(number, str(number)) for number in range(1, 401)]


async def test_follower_outlives_a_server_restart(redis_server: RedisServer) -> None:
    async with bus_of("gateway", redis_server.url) as gateway, gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT):
        assert await gateway.reply(ChatDelta(body="before"), origin=KEPT, seq=1, last=False)
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(rest(gateway, after=0))
            await asyncio.to_thread(redis_server.kill)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(redis_server.start)
            await gateway.reply(ChatDelta(body="after"), origin=KEPT, seq=2, last=False)
            await gateway.reply(COMPLETED, origin=KEPT)
        assert following.result() == [(1, "before"), (2, "after")]


async def test_lost_log_is_said_to_be_lost(redis_url: str) -> None:
    async with (
        bus_of("gateway", redis_url) as gateway,
        client_of(redis_url) as client,
        gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT),
    ):
        await gateway.reply(ChatDelta(body="1"), origin=KEPT, seq=1, last=False)
        await client.flushall()
        assert not await gateway.reply(ChatDelta(body="2"), origin=KEPT, seq=2, last=False)
        with pytest.raises(NoSuchLog):
            await rest(gateway, after=1)


async def test_reader_tells_an_outage_from_the_end(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bus_of("gateway", redis_server.url) as gateway, gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT):
        await gateway.reply(ChatDelta(body="1"), origin=KEPT, seq=1, last=False)
        await gateway.reply(COMPLETED, origin=KEPT, seq=2)
        assert [(each.seq, each.last) for each in await gateway.log(KEPT.log)] == [(1, False), (2, True)]
        assert [each.seq for each in await gateway.log(KEPT.log, after=1)] == [2]
        assert await gateway.log(KEPT.log, after=9) == []
        with pytest.raises(NoSuchLog):
            await gateway.log("another")
        monkeypatch.setattr("archive_bus._redis.answers.SETTLE_TIMEOUT_S", 0.2)
        redis_server.kill()
        with pytest.raises(BusUnavailable):
            await gateway.log(KEPT.log)


@pytest.mark.parametrize("lost", ["0-1", "0-2", "1-3"])
async def test_part_of_a_log_is_never_the_whole(redis_url: str, lost: str) -> None:
    async with (
        bus_of("gateway", redis_url) as gateway,
        client_of(redis_url) as client,
        gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT),
    ):
        for number in (1, 2):
            await gateway.reply(ChatDelta(body=str(number)), origin=KEPT, seq=number, last=False)
        await gateway.reply(COMPLETED, origin=KEPT, seq=3)
        assert [each.seq for each in await gateway.log(KEPT.log)] == [1, 2, 3]
        (key,) = [key async for key in client.scan_iter("{answers:*}")]
        assert await client.xdel(key, lost) == 1
        with pytest.raises(NoSuchLog):
            await gateway.log(KEPT.log)


async def test_ended_log_lives_for_ten_minutes(redis_url: str) -> None:
    async with (
        bus_of("gateway", redis_url) as gateway,
        client_of(redis_url) as client,
        gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT, timeout=3600),
    ):
        (key,) = [key async for key in client.scan_iter("{answers:*}")]
        assert await client.pttl(key) > 3_600_000
        await gateway.reply(COMPLETED, origin=KEPT)
        assert 590_000 < await client.pttl(key) <= 600_000


async def test_absent_state_server_refuses_a_log(redis_url: str) -> None:
    async with bus_of("gateway", redis_url, state="redis://127.0.0.1:1/0") as gateway:
        with pytest.raises(BusUnavailable):
            async with gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT):
                pass
