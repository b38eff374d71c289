"""What happens to messages when the process that has them is killed, frozen or terminated."""

import asyncio
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from bus_peers import (
    CHAT,
    COMPLETED,
    QUICK,
    bus_of,
    client_of,
    heard,
    publish_output,
    worker_on,
)

from archive_bus import Bus, Delivery, Lane, Retry, Runs, Starts
from archive_bus._redis.settling import Settling
from archive_contracts.chat import ChatRequested
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS, JOBS_JOURNAL
from archive_testkit.guarantees import Figure
from archive_testkit.servers import RedisServer
from archive_testkit.waiting import eventually


@pytest.mark.guarantee("G2")
async def test_killed_worker_is_replaced(redis_url: str, figure: Figure) -> None:
    async with bus_of("router", redis_url) as router, client_of(redis_url) as client:
        async with worker_on(redis_url, lease_s=1) as worker:
            await router.publish(CHAT, to=QUICK)
            await heard(worker, "began")
            worker.kill()
            await worker.wait()
            killed = time.monotonic()
        router.subscribe(QUICK, {ChatRequested: publish_output})
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
        figure("done again after", (time.monotonic() - killed) / QUICK.lease.total_seconds(), "x lease")
        assert await client.xlen(CHAT_EVENTS.physical()) == 1
        assert (await client.xpending(QUICK.physical(), "router"))["pending"] == 0


@pytest.mark.guarantee("G4")
async def test_terminated_worker_hands_back(redis_url: str, figure: Figure) -> None:
    attempts: list[int] = []
    started: list[float] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        attempts.append(delivery.attempt)
        started.append(time.monotonic())

    async with bus_of("router", redis_url) as router:
        async with worker_on(redis_url, lease_s=600) as worker:
            for _ in range(12):
                await router.publish(CHAT, to=CHAT_REQUESTS)
            await heard(worker, "began")
            worker.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(worker.wait(), 60) == 0
        ended = time.monotonic()
        router.subscribe(replace(CHAT_REQUESTS, lease=timedelta(seconds=600)), {ChatRequested: handle})
        await eventually(lambda: len(attempts) == 12)
    figure("stranded", 12 - len(attempts))
    figure("others start them after", max(started) - ended, "s")
    assert set(attempts) == {1}


@pytest.mark.guarantee("G4")
async def test_repeated_drains_strand_nothing(redis_url: str) -> None:
    stream = replace(CHAT_REQUESTS, lease=timedelta(seconds=600))
    sent: list[str] = []
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        await asyncio.sleep(0.001)
        seen.append(delivery.envelope.id)

    async def publish(gateway: Bus) -> None:
        while True:
            sent.append(await gateway.publish(CHAT, to=stream))
            await asyncio.sleep(0.001)

    async with bus_of("gateway", redis_url) as gateway, asyncio.TaskGroup() as tasks:
        publishing = tasks.create_task(publish(gateway))
        for _ in range(25):
            async with bus_of("router", redis_url) as router:
                router.subscribe(stream, {ChatRequested: handle}, concurrency=4)
                await asyncio.sleep(0.06)
        publishing.cancel()
    async with bus_of("router", redis_url) as router:
        router.subscribe(stream, {ChatRequested: handle})
        await eventually(lambda: set(sent) <= set(seen))
    assert len(seen) == len(set(seen))


@pytest.mark.guarantee("G3")
async def test_frozen_worker_loses_its_message(redis_url: str) -> None:
    async with bus_of("router", redis_url) as router, worker_on(redis_url, lease_s=1) as worker:
        await router.publish(CHAT, to=QUICK)
        await heard(worker, "began")
        worker.send_signal(signal.SIGSTOP)
        router.subscribe(QUICK, {ChatRequested: publish_output})
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
        worker.send_signal(signal.SIGCONT)
        assert await heard(worker, "cancelled") == []


@pytest.mark.guarantee("G3")
async def test_thawed_worker_has_no_effect(redis_url: str) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.message.model)
        await delivery.reply(COMPLETED)

    async with (
        bus_of("gateway", redis_url) as gateway,
        bus_of("router", redis_url) as router,
        worker_on(redis_url, lease_s=2, app="sleeper") as worker,
        client_of(redis_url) as client,
        gateway.open(CHAT, to=QUICK, timeout=60) as call,
    ):
        await heard(worker, "began")
        worker.send_signal(signal.SIGSTOP)
        router.subscribe(replace(QUICK, lease=timedelta(seconds=2)), {ChatRequested: handle})
        assert await call.next() == COMPLETED
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
        worker.send_signal(signal.SIGCONT)
        assert await heard(worker, "tried") == []
        with pytest.raises(TimeoutError):
            await call.next(within=0.5)
        assert not await client.exists(CHAT_EVENTS.physical(), JOBS_JOURNAL.physical("j"))
        assert (await client.xpending(QUICK.physical(), "router"))["pending"] == 0
    assert seen == ["m"]


@pytest.mark.guarantee("G3")
async def test_thawed_worker_starts_nothing_stale(redis_url: str) -> None:
    async with (
        bus_of("router", redis_url) as router,
        worker_on(redis_url, lease_s=2, app="sleeper") as worker,
        client_of(redis_url) as client,
    ):
        key = QUICK.physical()
        for model in ("m", "waiting", "waiting", "waiting"):
            await router.publish(CHAT.model_copy(update={"model": model}), to=QUICK)
        await heard(worker, "began")
        worker.send_signal(signal.SIGSTOP)
        router.subscribe(replace(QUICK, lease=timedelta(seconds=2)), {ChatRequested: publish_output})
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 4)
        worker.send_signal(signal.SIGCONT)
        assert await heard(worker, "tried") == []
        await asyncio.sleep(0.3)
        assert await client.xlen(CHAT_EVENTS.physical()) == 4
        assert (await client.xpending(key, "router"))["pending"] == 0


@pytest.mark.guarantee("G3")
async def test_late_word_of_a_start_begins_nothing(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, runs, counting = replace(QUICK, lease=timedelta(seconds=1)), list[int](), Settling.started
    frozen: list[int] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        runs.append(delivery.attempt)
        if len(runs) == 1:
            raise Retry("once more", delay_s=0.1)

    async def freezing(self: Settling, lane: Lane, begun: Runs, *, alone: bool = False) -> Sequence[Starts]:
        counts = await counting(self, lane, begun, alone=alone)
        if counts[0].begun == 2 and not frozen:
            frozen.append(1)
            # Frozen before it reads that its second run has been counted; meanwhile another consumer takes it over.
            async with client_of(redis_url) as client:
                await client.xclaim(lane.key, lane.group, "another", 0, list(begun))
            time.sleep(1.5)  # noqa: ASYNC251 - a frozen process does nothing else either
        return counts

    monkeypatch.setattr(Settling, "started", freezing)
    async with bus_of("router", redis_url) as router:
        router.subscribe(stream, {ChatRequested: handle})
        await router.publish(CHAT, to=stream)
        await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1, within=60)
    # What never began is not charged to the message.
    assert runs == [1, 2]


@pytest.mark.guarantee("G4")
async def test_locked_out_worker_exits_nonzero(redis_server: RedisServer) -> None:
    async with client_of(redis_server.url) as client:
        await client.config_set("requirepass", "first")
        url = redis_server.url.replace("redis://", "redis://:first@")
        await client.execute_command("AUTH", "first")
        async with bus_of("gateway", url) as gateway:
            await gateway.publish(CHAT, to=CHAT_REQUESTS)
        async with worker_on(url, lease_s=600) as worker:
            await heard(worker, "began")
            await client.config_set("requirepass", "second")
            await client.client_kill_filter(_type="normal", skipme=True)
            # No waiting mends a credential: whoever supervises the process has to see that it cannot go on.
            assert await asyncio.wait_for(worker.wait(), 60) == 1
