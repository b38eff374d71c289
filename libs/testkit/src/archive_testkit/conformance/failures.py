"""What fails is tried again, counted, and kept with its cause; the line behind it moves on."""

import asyncio
import time

import pytest

from archive_bus import Delivery, Origin, Reject, RequestFailed, Retry
from archive_contracts.base import Problem
from archive_contracts.chat import ChatDelta, ChatRequested
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import CHAT_REQUESTS, MEMORY_QUERIES, Stream, dead_letters
from archive_testkit.conformance.backend import Backend, Feature, bare, lane_of, needs, quick, take
from archive_testkit.waiting import eventually

CHAT = ChatRequested(body="{}", model="m")
NOTHING = Problem(code="nothing_there", message="no library", status=404)


async def dead_of(backend: Backend, stream: Stream, group: str) -> list[dict[str, str]]:
    """Return the dead letters of a group as text."""
    found = await backend.entries(dead_letters(stream.physical(), group))
    return [{name.decode(): value.decode(errors="replace") for name, value in each.items()} for each in found]


async def die_of(backend: Backend, stream: Stream, group: str, *, entries: int, times: int) -> None:
    """Begin entries and end without a word, several times over."""
    async with bare(backend) as transport:
        lane = lane_of(stream, group, "victim-0")
        taken = await take(transport, lane, entries)
        for number in range(times):
            if number:
                lane = lane_of(stream, group, f"victim-{number}")
                taken = await transport.claim(lane, count=entries)
            await transport.started(lane, {entry.id: f"run{number}" for entry in taken}, alone=True)
            await transport.release(lane, {entry.id: "" for entry in taken})


class Failing:
    """Attempts, back-off, dead letters, poison."""

    @pytest.mark.guarantee("G5")
    async def test_failed_attempts_end_in_dead_letters(self, backend: Backend) -> None:
        needs(backend, Feature.REPLIES)
        attempts: list[int] = []

        async def handle(delivery: Delivery[GetLibraryStats]) -> None:
            attempts.append(delivery.attempt)
            raise ValueError("poison é")

        async with backend.bus("gateway") as gateway, backend.bus("memory") as memory:
            memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: handle})
            with pytest.raises(RequestFailed) as caught:
                await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES)
            await eventually(lambda: memory.counters().get(("memory.queries", "dead")) == 1)
        (letter,) = await dead_of(backend, MEMORY_QUERIES, "memory")
        assert attempts == [1, 2]
        assert caught.value.problem().code == "internal_error"
        assert (letter["cause.code"], letter["cause.cause"]) == ("attempts_exhausted", "ValueError: poison é")
        assert (letter["raw.type"], letter["raw.data"]) == (GetLibraryStats.type, "{}")

    @pytest.mark.guarantee("G5")
    async def test_rejected_request_fails_typed(self, backend: Backend) -> None:
        needs(backend, Feature.REPLIES)

        async def handle(delivery: Delivery[GetLibraryStats]) -> None:
            raise Reject(NOTHING)

        async with backend.bus("gateway") as gateway, backend.bus("memory") as memory:
            memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: handle})
            with pytest.raises(RequestFailed) as caught:
                await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES)
        assert caught.value.problem() == NOTHING
        assert [letter["cause.code"] for letter in await dead_of(backend, MEMORY_QUERIES, "memory")] == [NOTHING.code]

    @pytest.mark.guarantee("G5")
    async def test_unreadable_entries_block_nobody(self, backend: Backend) -> None:
        needs(backend, Feature.FOREIGN_ENTRIES)
        seen: list[str] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            seen.append(delivery.message.model)

        key, kind = CHAT_REQUESTS.physical(), ChatRequested.type.encode()
        good = CHAT.to_json()
        async with backend.bus("router") as router:
            await backend.add(key, {b"some": b"\xff\x00thing"})
            await backend.add(key, {b"type": b"no.such.v1", b"data": good})
            await backend.add(key, {b"type": kind, b"data": b'{"half'})
            await backend.add(key, {b"type": kind, b"data": good, b"tenant": b"\xff"})
            await backend.add(key, {b"type": kind, b"data": good, b"deadline": b"soon"})
            await backend.add(key, {b"type": kind, b"data": b"blob:sha256:\xff"})
            await backend.add(key, {b"type": kind, b"data": good})
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle}, concurrency=1)
            await eventually(lambda: seen == ["m"])
        letters = await backend.entries(dead_letters(key, "router"))
        codes = [letter[b"cause.code"].decode() for letter in letters]
        assert codes == ["undecodable", "unknown_type", "undecodable", "undecodable", "undecodable", "payload_error"]
        assert letters[0][b"raw.some"] == b"\xff\x00thing"

    @pytest.mark.guarantee("G5")
    async def test_entry_of_many_fields_is_buried(self, backend: Backend) -> None:
        needs(backend, Feature.FOREIGN_ENTRIES)
        many = {f"field-{number}".encode(): b"x" for number in range(5000)}
        async with backend.bus("router") as router:
            await backend.add(CHAT_REQUESTS.physical(), {**many, b"type": b"no.such.v1", b"data": b"{}"})
            router.subscribe(CHAT_REQUESTS, {})
            await eventually(lambda: router.counters().get(("chat.requests", "dead")) == 1, within=60)
        (letter,) = await dead_of(backend, CHAT_REQUESTS, "router")
        assert (letter["cause.code"], letter["cause.left_out"]) == ("unknown_type", "5000")
        assert {name for name in letter if name.startswith("raw.")} == {"raw.type", "raw.data"}

    @pytest.mark.guarantee("G13")
    async def test_unreadable_request_is_answered(self, backend: Backend) -> None:
        needs(backend, Feature.REPLIES)
        needs(backend, Feature.FOREIGN_ENTRIES)
        key = MEMORY_QUERIES.physical()
        async with (
            backend.bus("gateway") as gateway,
            backend.bus("memory") as memory,
            gateway.open(GetLibraryStats(), to=MEMORY_QUERIES) as call,
        ):
            (sent,) = await backend.entries(key)
            await backend.add(key, {**sent, b"data": b"{", b"id": b"broken"})
            memory.subscribe(MEMORY_QUERIES, {})
            with pytest.raises(RequestFailed) as caught:
                await call.next()
        assert caught.value.problem().code == "undecodable"

    @pytest.mark.guarantee("G5")
    async def test_retry_delay_is_honoured(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS, lease_s=2.0)
        times: list[float] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            times.append(asyncio.get_running_loop().time())
            if delivery.attempt == 1:
                raise Retry("not yet", delay_s=0.7)

        async with backend.bus("router") as router:
            router.subscribe(stream, {ChatRequested: handle})
            await router.publish(CHAT, to=stream)
            await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
        assert len(times) == 2
        assert times[1] - times[0] >= 0.69

    @pytest.mark.guarantee("G5")
    async def test_long_retry_delay_is_not_cut(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS, lease_s=0.5)
        times: list[float] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            times.append(asyncio.get_running_loop().time())
            if delivery.attempt == 1:
                raise Retry("not for a while", delay_s=1.8)

        async with backend.bus("router") as one, backend.bus("router") as two:
            for bus in (one, two):
                bus.subscribe(stream, {ChatRequested: handle})
            await one.publish(CHAT, to=stream)
            await eventually(lambda: len(times) == 2)
        assert times[1] - times[0] >= 1.79

    @pytest.mark.guarantee("G5")
    async def test_retry_lets_others_pass(self, backend: Backend) -> None:
        seen: list[str] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            seen.append(delivery.message.model)
            if delivery.message.model == "slow" and delivery.attempt == 1:
                raise Retry("later", delay_s=0.5)

        async with backend.bus("router") as router:
            for model in ("slow", "fast"):
                await router.publish(CHAT.model_copy(update={"model": model}), to=quick(CHAT_REQUESTS))
            router.subscribe(quick(CHAT_REQUESTS), {ChatRequested: handle}, concurrency=1)
            await eventually(lambda: len(seen) == 3)
        assert seen == ["slow", "fast", "slow"]

    @pytest.mark.guarantee("G5")
    async def test_suspects_run_alone(self, backend: Backend) -> None:
        running: set[str] = set()
        beside: dict[str, set[str]] = {}

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            name = delivery.message.model
            beside[name] = set(running)
            running.add(name)
            await asyncio.sleep(0.05)
            beside[name] |= running - {name}
            running.discard(name)

        async with backend.bus("router") as router:
            for model in ("suspect-1", "suspect-2"):
                await router.publish(CHAT.model_copy(update={"model": model}), to=CHAT_REQUESTS)
            await die_of(backend, CHAT_REQUESTS, "router", entries=2, times=2)
            for number in range(8):
                await router.publish(CHAT.model_copy(update={"model": f"good-{number}"}), to=CHAT_REQUESTS)
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle}, concurrency=4)
            await eventually(lambda: len(beside) == 10)
        assert beside["suspect-1"] == beside["suspect-2"] == set()

    @pytest.mark.guarantee("G5")
    async def test_killer_is_buried_and_told(self, backend: Backend) -> None:
        needs(backend, Feature.REPLIES)
        ran: list[int] = []

        async def handle(delivery: Delivery[GetLibraryStats]) -> None:
            ran.append(delivery.attempt)

        async with backend.bus("gateway") as gateway, backend.bus("memory") as memory:
            async with gateway.open(GetLibraryStats(), to=MEMORY_QUERIES) as call:
                await die_of(backend, MEMORY_QUERIES, "memory", entries=1, times=2)
                memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: handle})
                with pytest.raises(RequestFailed):
                    await call.next()
            await eventually(lambda: memory.counters().get(("memory.queries", "dead")) == 1)
        (letter,) = await dead_of(backend, MEMORY_QUERIES, "memory")
        assert letter["cause.code"] == "attempts_exhausted"
        assert ran == []

    async def test_deadly_message_has_its_mourner(self, backend: Backend) -> None:
        told: list[tuple[str, str]] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            raise Reject(NOTHING)

        async def mourn(delivery: Delivery[ChatRequested], problem: Problem) -> None:
            told.append((delivery.message.model, problem.code))
            raise ValueError("what fails here keeps nothing from being buried")

        async with backend.bus("router") as router:
            await router.publish(CHAT.model_copy(update={"model": "killer"}), to=CHAT_REQUESTS)
            await die_of(backend, CHAT_REQUESTS, "router", entries=1, times=CHAT_REQUESTS.attempts)
            await router.publish(CHAT.model_copy(update={"model": "refused"}), to=CHAT_REQUESTS)
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle}, on_dead={ChatRequested: mourn})
            await eventually(lambda: router.counters().get(("chat.requests", "dead")) == 2)
        assert sorted(told) == [("killer", "internal_error"), ("refused", NOTHING.code)]
        assert len(await dead_of(backend, CHAT_REQUESTS, "router")) == 2

    async def test_second_run_knows_of_the_first(self, backend: Backend) -> None:
        needs(backend, Feature.REPLIES)
        known: dict[str, list[bool]] = {"spoke": [], "silent": []}

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            known[delivery.message.model].append(await delivery.interrupted())
            if delivery.message.model == "spoke":
                await delivery.emit(ChatDelta(body="half an answer"))
            if delivery.attempt == 1:
                raise Retry("again", delay_s=0.0)

        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(quick(CHAT_REQUESTS), {ChatRequested: handle})
            for model in known:
                await gateway.publish(CHAT.model_copy(update={"model": model}), to=quick(CHAT_REQUESTS))
            await eventually(lambda: all(len(runs) == 2 for runs in known.values()))
        assert known == {"spoke": [False, True], "silent": [False, False]}

    async def test_drained_answer_is_known_to_the_next(self, backend: Backend) -> None:
        needs(backend, Feature.REPLIES)
        known: list[tuple[int, bool]] = []

        async def speak(delivery: Delivery[ChatRequested]) -> None:
            await delivery.emit(ChatDelta(body="half an answer"))
            await asyncio.sleep(60)

        async def look(delivery: Delivery[ChatRequested]) -> None:
            known.append((delivery.attempt, await delivery.interrupted()))

        async with backend.bus("gateway") as gateway, gateway.open(CHAT, to=CHAT_REQUESTS) as call:
            async with backend.bus("router", grace_s=0.0) as one:
                one.subscribe(CHAT_REQUESTS, {ChatRequested: speak})
                await call.next()
            async with backend.bus("router") as two:
                two.subscribe(CHAT_REQUESTS, {ChatRequested: look})
                await eventually(lambda: bool(known))
        assert known == [(1, True)]

    @pytest.mark.guarantee("G5")
    async def test_backlog_starves_no_retry(self, backend: Backend) -> None:
        stream, order = quick(CHAT_REQUESTS), list[str]()

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            order.append(delivery.message.model)
            if delivery.message.model == "again" and delivery.attempt == 1:
                raise Retry("not yet", delay_s=0.05)
            await asyncio.sleep(0.02)

        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            await gateway.publish(CHAT.model_copy(update={"model": "again"}), to=stream)
            await asyncio.gather(*(gateway.publish(CHAT, to=stream) for _ in range(400)))
            router.subscribe(stream, {ChatRequested: handle}, concurrency=2)
            await eventually(lambda: len(order) == 402)
        assert order.count("again") == 2
        assert order[-1] != "again"

    @pytest.mark.guarantee("G4")
    async def test_busy_neighbour_takes_what_was_handed_back(self, backend: Backend) -> None:
        stream, order = quick(CHAT_REQUESTS), list[str]()

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            order.append(delivery.message.model)
            await asyncio.sleep(0.02)

        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            await gateway.publish(CHAT.model_copy(update={"model": "left"}), to=stream)
            async with bare(backend) as transport:
                lane = lane_of(stream, "router", "leaver")
                taken = await take(transport, lane, 1)
                await asyncio.gather(*(gateway.publish(CHAT, to=stream) for _ in range(400)))
                router.subscribe(stream, {ChatRequested: handle}, concurrency=2)
                await eventually(lambda: len(order) > 5)
                await transport.release(lane, {entry.id: "" for entry in taken})
                await eventually(lambda: len(order) == 401)
        assert order[-1] != "left"

    @pytest.mark.guarantee("G13")
    async def test_late_after_its_wait_never_starts(self, backend: Backend) -> None:
        stream, ran, release = quick(CHAT_REQUESTS, lease_s=60), list[str](), asyncio.Event()
        lane = lane_of(stream, "router", "victim")

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            ran.append(delivery.message.model)
            await release.wait()

        async with backend.bus("gateway") as gateway, backend.bus("router") as router, bare(backend) as victim:
            due = Origin(deadline=int(time.time() * 1000) + 2500)
            await gateway.publish(CHAT.model_copy(update={"model": "suspect"}), to=stream, origin=due)
            (suspect,) = await take(victim, lane, 1)
            for number in range(2):
                await victim.started(lane, {suspect.id: f"run{number}"}, alone=True)
            await gateway.publish(CHAT, to=stream)
            router.subscribe(stream, {ChatRequested: handle})
            await eventually(lambda: ran == ["m"])
            # Only now can anybody have the suspect; it waits until it is alone, and is not before its time is over.
            await victim.release(lane, {suspect.id: ""})
            await eventually(lambda: router.counters().get((stream.name, "redelivered")) == 1)
            await asyncio.sleep(max(0.0, due.deadline / 1000 - time.time()) + 0.1)
            release.set()
            await eventually(lambda: router.counters().get((stream.name, "expired")) == 1)
        assert ran == ["m"]
