"""What the one connection that all write through makes of its server."""

import asyncio

import pytest
from bus_peers import CHAT, COMPLETED, KEPT, bus_of, client_of

from archive_bus import BusUnavailable, Delivery, _writer
from archive_bus._link import Link
from archive_bus._writer import Writer
from archive_contracts.chat import ChatRequested
from archive_contracts.streams import CHAT_EVENTS
from archive_testkit.servers import RedisServer, free_port
from archive_testkit.waiting import eventually


@pytest.mark.guarantee("G1")
async def test_demoted_master_confirms_nothing(redis_server: RedisServer) -> None:
    replica = RedisServer(options=("--replicaof", "127.0.0.1", str(redis_server.port)))
    async with client_of(redis_server.url) as client, asyncio.TaskGroup() as tasks:
        await client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
        writer = Writer(client.connection_pool, name="bus", replicas=1)
        running = tasks.create_task(writer.run())
        confirmed = writer.send("GET", "nothing")
        done, _ = await asyncio.wait([running, confirmed], timeout=0.5)
        assert not done
        await client.execute_command("REPLICAOF", "NO", "ONE")
        try:
            await asyncio.to_thread(replica.start)
            async with asyncio.timeout(30):
                assert await confirmed is None
        finally:
            writer.stop()
            await asyncio.to_thread(replica.stop)


@pytest.mark.guarantee("G3")
async def test_set_clock_of_the_server_stops_nobody(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told, behind_ms = _writer.ahead_ms, 600_000.0
    refused: list[float] = []

    async def set_back(link: Link) -> float:
        return await told(link) - behind_ms

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        nonlocal behind_ms
        publishing = asyncio.ensure_future(delivery.publish(COMPLETED, to=CHAT_EVENTS))
        await asyncio.wait([publishing], timeout=0.5)
        refused.append(not publishing.done())
        behind_ms = 0.0  # from now on it is read as it is; until then all leases were over by it
        await publishing

    monkeypatch.setattr(_writer, "ahead_ms", set_back)
    monkeypatch.setattr(_writer, "CLOCK_LOOK_S", 0.1)
    async with bus_of("router", redis_url) as router, client_of(redis_url) as client:
        router.subscribe(KEPT, {ChatRequested: handle})
        await router.publish(CHAT, to=KEPT)
        await eventually(lambda: router.counters().get((KEPT.name, "done")) == 1)
        assert (refused, await client.xlen(CHAT_EVENTS.physical())) == ([True], 1)


@pytest.mark.guarantee("G1")
async def test_nobody_waits_for_a_writer_that_has_ended() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        async with client_of(f"redis://127.0.0.1:{port}") as client:
            writer = Writer(client.connection_pool, name="bus")
            running = asyncio.ensure_future(writer.run())
            sent = writer.fenced("publish", ["a", "b"], [1, 1, "x", "y"], until=None, timeout=60)
            await eventually(lambda: not writer.queued)
            queued = writer.fenced("publish", ["a", "b"], [1, 1, "x", "y"], until=None, timeout=60)
            running.cancel()
            await asyncio.wait([running, sent, queued], timeout=20)
    for waiting in (sent, queued):
        with pytest.raises(BusUnavailable):
            waiting.result()
