"""Every group gets every message, from one consumer at a time, for as long as it takes."""

import asyncio
import time
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta

import pytest

from archive_bus import Acked, Bus, BusUnavailable, Delivery, LeaseLost, NotInMap, Origin, PayloadError, Starts
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted, ChatRequested
from archive_contracts.documents import DocumentDeleted, DocumentFailed, IngestDocument
from archive_contracts.engine import EmbedRequested
from archive_contracts.memory import GetLibraryStats
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS, DOCUMENT_COMMANDS, DOCUMENT_EVENTS, ENGINE_JOBS
from archive_testkit.conformance.backend import Backend, bare, lane_of, quick, take
from archive_testkit.waiting import eventually

CHAT = ChatRequested(body="{}", model="m")
INGEST = IngestDocument(job_id="j", document_id="d", blob="", filename="a.txt", size=1)
NOTED: ContextVar[str] = ContextVar("NOTED", default="")


class Delivering:
    """Publishing, consumer groups, leases, drains, trimming."""

    @pytest.mark.guarantee("G1")
    async def test_publish_before_start_is_handled(self, backend: Backend) -> None:
        async with backend.bus("gateway") as gateway:
            await gateway.publish(CHAT, to=CHAT_REQUESTS)
        seen: list[str] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            seen.append(delivery.message.model)

        async with backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            await eventually(lambda: bool(seen))
        assert seen == ["m"]

    @pytest.mark.guarantee("G6")
    async def test_same_id_publishes_once(self, backend: Backend) -> None:
        seen: list[str] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            seen.append(delivery.message.model)

        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            for _ in range(3):
                await gateway.publish(ChatRequested(body="{}", model="one"), to=CHAT_REQUESTS, id="the-id")
            await gateway.publish(ChatRequested(body="{}", model="last"), to=CHAT_REQUESTS)
            await eventually(lambda: "last" in seen)
        assert seen == ["one", "last"]

    @pytest.mark.guarantee("G1")
    async def test_both_groups_get_everything(self, backend: Backend) -> None:
        seen: dict[str, list[str]] = {"librarian": [], "memory": []}

        def handler_of(service: str):
            async def handle(delivery: Delivery[IngestDocument]) -> None:
                seen[service].append(delivery.message.document_id)

            return handle

        async with backend.bus("librarian") as librarian, backend.bus("memory") as memory:
            librarian.subscribe(DOCUMENT_COMMANDS, {IngestDocument: handler_of("librarian")})
            memory.subscribe(DOCUMENT_COMMANDS, {IngestDocument: handler_of("memory")})
            for number in range(20):
                message = INGEST.model_copy(update={"document_id": str(number)})
                await librarian.publish(message, to=DOCUMENT_COMMANDS)
            everything = sorted(str(number) for number in range(20))
            await eventually(lambda: len(seen["librarian"]) >= 20 <= len(seen["memory"]))
        assert sorted(seen["librarian"]) == sorted(seen["memory"]) == everything

    @pytest.mark.guarantee("G1")
    async def test_later_group_sees_earlier_publish(self, backend: Backend) -> None:
        early = replace(DOCUMENT_COMMANDS, consumers={"librarian": (IngestDocument,)})
        seen: list[str] = []

        async def handle(delivery: Delivery[IngestDocument]) -> None:
            seen.append(delivery.message.document_id)

        async with backend.bus("gateway") as gateway, backend.bus("memory") as memory:
            await gateway.publish(INGEST, to=early)
            memory.subscribe(DOCUMENT_COMMANDS, {IngestDocument: handle})
            await eventually(lambda: bool(seen))
        assert seen == ["d"]

    async def test_foreign_types_are_passed_over(self, backend: Backend) -> None:
        seen: list[str] = []

        async def handle(delivery: Delivery[DocumentFailed]) -> None:
            seen.append(delivery.message.type)

        deleted = DocumentDeleted(document_id="d")
        problem = Problem(code="empty", message="nothing in it")
        failed = DocumentFailed(job_id="j", document_id="d", filename="a.txt", problem=problem)
        async with backend.bus("memory") as memory:
            memory.subscribe(DOCUMENT_EVENTS, {DocumentFailed: handle})
            await memory.publish(deleted, to=DOCUMENT_EVENTS)
            await memory.publish(failed, to=DOCUMENT_EVENTS)
            await eventually(lambda: bool(seen))
        assert seen == [DocumentFailed.type]

    async def test_context_ends_with_its_handler(self, backend: Backend) -> None:
        found: list[tuple[str, str]] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            before = NOTED.get()
            NOTED.set(delivery.envelope.id)
            if delivery.message.model == "waits":
                await asyncio.sleep(0.01)
            found.append((before, NOTED.get()))

        sent = [CHAT.model_copy(update={"model": model}) for model in ("quick", "waits", "quick", "quick")]
        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            ids = await asyncio.gather(*(gateway.publish(each, to=CHAT_REQUESTS) for each in sent))
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle}, concurrency=2)
            await eventually(lambda: len(found) == len(sent))
        assert sorted(found) == sorted(("", each) for each in ids)

    async def test_wrong_stream_is_refused(self, backend: Backend) -> None:
        async with backend.bus("gateway") as gateway:
            with pytest.raises(NotInMap):
                await gateway.publish(GetLibraryStats(), to=CHAT_EVENTS)

    @pytest.mark.guarantee("G16")
    async def test_any_unicode_survives(self, backend: Backend) -> None:
        text = "\x00 \x7f é ß Ω 中文 \u202e \ufeff \uffff 😀 \U0010ffff\r\n"
        seen: list[tuple[Origin, str]] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            seen.append((delivery.origin, delivery.message.user_turn))

        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            origin = Origin(tenant=text, correlation=text, tracestate=text, shadow=text)
            await gateway.publish(CHAT.model_copy(update={"user_turn": text}), to=CHAT_REQUESTS, origin=origin)
            await eventually(lambda: bool(seen))
        got, turn = seen[0]
        assert {got.tenant, got.correlation, got.tracestate, got.shadow, turn} == {text}

    async def test_lone_surrogate_is_refused(self, backend: Backend) -> None:
        async with backend.bus("gateway") as gateway:
            with pytest.raises(PayloadError):
                await gateway.publish(CHAT, to=CHAT_REQUESTS, origin=Origin(tenant="\ud800"))
            await gateway.publish(CHAT, to=CHAT_REQUESTS)

    @pytest.mark.guarantee("G2")
    async def test_vanished_consumer_is_replaced(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS)
        attempts: list[int] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            attempts.append(delivery.attempt)

        async with backend.bus("gateway") as gateway, bare(backend) as gone, backend.bus("router") as router:
            await gateway.publish(CHAT, to=stream)
            lane = lane_of(stream, "router", "gone")
            (entry,) = await take(gone, lane, 1)
            await gone.started(lane, {entry.id: "run"})
            router.subscribe(stream, {ChatRequested: handle})
            await eventually(lambda: bool(attempts))
        assert attempts == [2]

    @pytest.mark.guarantee("G2")
    async def test_claim_reaches_behind_busy_entries(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS, lease_s=60)
        async with backend.bus("gateway") as gateway, bare(backend) as one:
            for _ in range(60):
                await gateway.publish(CHAT, to=stream)
            mine = lane_of(stream, "router", "one")
            entries = await take(one, mine, 60)
            await one.release(mine, {entries[-1].id: ""})
            claimed = await one.claim(lane_of(stream, "router", "two"), count=1)
        assert [entry.id for entry in claimed] == [entries[-1].id]

    @pytest.mark.guarantee("G3")
    async def test_long_handler_runs_once(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS, lease_s=0.4)
        runs: list[str] = []
        done = asyncio.Event()

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            runs.append(delivery.envelope.id)
            await asyncio.sleep(4.0)
            done.set()

        async with backend.bus("router") as one, backend.bus("router") as two:
            for bus in (one, two):
                bus.subscribe(stream, {ChatRequested: handle})
            await one.publish(CHAT, to=stream)
            await done.wait()
        assert len(runs) == 1

    @pytest.mark.guarantee("G3")
    async def test_waiting_messages_keep_their_lease(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS, lease_s=0.5)
        runs: list[str] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            runs.append(delivery.envelope.id)
            await asyncio.sleep(0.5)

        async with backend.bus("router") as one, backend.bus("router") as two:
            for _ in range(6):
                await one.publish(CHAT, to=stream)
            one.subscribe(stream, {ChatRequested: handle}, concurrency=1, prefetch=6)
            await eventually(lambda: len(runs) == 1)
            two.subscribe(stream, {ChatRequested: handle})
            await eventually(lambda: one.counters().get(("chat.requests", "done")) == 6)
        assert len(runs) == len(set(runs)) == 6

    @pytest.mark.guarantee("G3")
    async def test_short_stall_loses_nothing(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS, lease_s=2.0)
        runs: list[str] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            runs.append(delivery.envelope.id)
            time.sleep(1.0)  # noqa: ASYNC251 - the stall is the point
            assert await delivery.reply(ChatCompleted(engine="e", pool="p", model="m"))

        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(stream, {ChatRequested: handle})
            await gateway.request(CHAT, ChatCompleted, to=stream)
            await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
            assert ("chat.requests", "lost_lease") not in router.counters()
        assert len(runs) == 1

    @pytest.mark.guarantee("G3")
    async def test_stale_handler_publishes_nothing(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS, lease_s=1.0)
        began, refused = asyncio.Event(), asyncio.Event()

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            began.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                with pytest.raises(LeaseLost):
                    await delivery.publish(ChatCompleted(engine="e", pool="p", model="m"), to=CHAT_EVENTS)
                refused.set()
                raise

        async with backend.bus("router") as router, bare(backend) as thief:
            router.subscribe(stream, {ChatRequested: handle})
            await router.publish(CHAT, to=stream)
            await began.wait()
            await thief.claim(lane_of(replace(stream, lease=timedelta(0)), "router", "thief"), count=10)
            await asyncio.wait_for(refused.wait(), 10)
            assert router.counters()["chat.requests", "refused"] == 1
        assert await backend.entries(CHAT_EVENTS.physical()) == []

    @pytest.mark.guarantee("G3")
    async def test_stalled_loop_doubles_nothing(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS, lease_s=0.3)
        runs: list[str] = []
        release = asyncio.Event()

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            runs.append(delivery.envelope.id)
            await release.wait()

        async with backend.bus("router") as router:
            router.subscribe(stream, {ChatRequested: handle})
            await router.publish(CHAT, to=stream)
            await eventually(lambda: len(runs) == 1)
            for _ in range(4):
                time.sleep(0.5)  # noqa: ASYNC251 - the stall is the point
                await asyncio.sleep(0.1)
            release.set()
            await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
        assert len(runs) == 1

    @pytest.mark.guarantee("G3")
    async def test_lost_lease_cancels_handler(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS, lease_s=1.0)
        began, cancelled = asyncio.Event(), asyncio.Event()

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            began.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        async with backend.bus("router") as router, bare(backend) as thief:
            router.subscribe(stream, {ChatRequested: handle})
            await router.publish(CHAT, to=stream)
            await began.wait()
            lane = lane_of(replace(stream, lease=timedelta(0)), "router", "thief")
            (stolen,) = await thief.claim(lane, count=10)
            await asyncio.wait_for(cancelled.wait(), 10)
            assert await thief.ack(lane, [stolen.id]) == [Acked.DONE]
            assert router.counters()["chat.requests", "lost_lease"] == 1

    @pytest.mark.guarantee("G3")
    async def test_stale_owner_can_do_nothing(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS, lease_s=0.0)
        old, new = lane_of(stream, "router", "old"), lane_of(stream, "router", "new")
        async with backend.bus("gateway") as gateway, bare(backend) as transport:
            await gateway.publish(CHAT, to=stream)
            (entry,) = await take(transport, old, 1)
            await transport.claim(new, count=1)
            assert await transport.ack(old, [entry.id]) == [Acked.TAKEN]
            assert await transport.extend(old, [entry.id]) == [entry.id]
            assert not await transport.bury(old, entry, {"code": "stale"})
            await transport.release(old, {entry.id: "old"})
            assert (await transport.started(old, {entry.id: "old"}))[0].begun == -1
            assert await transport.extend(new, [entry.id]) == []
            assert (await transport.started(new, {entry.id: "new"}))[0].begun == 1
            assert await transport.ack(new, [entry.id]) == [Acked.DONE]

    @pytest.mark.guarantee("G5")
    async def test_cut_run_counts_for_nobody(self, backend: Backend) -> None:
        stream = quick(CHAT_REQUESTS, lease_s=0.0)
        old, new = lane_of(stream, "router", "old"), lane_of(stream, "router", "new")
        async with backend.bus("gateway") as gateway, bare(backend) as transport:
            await gateway.publish(CHAT, to=stream)
            (entry,) = await take(transport, old, 1)
            await transport.started(old, {entry.id: "cut"})
            await transport.claim(new, count=1)
            assert await transport.started(new, {entry.id: "next"}) == [Starts(begun=2, failed=0)]
            for _ in range(2):
                await transport.release(old, {entry.id: "cut"})
            assert await transport.started(new, {entry.id: "next"}) == [Starts(begun=1, failed=0)]
            await transport.release(old, {entry.id: "cut"}, failed=True)
            assert await transport.started(new, {entry.id: "next"}) == [Starts(begun=2, failed=1)]
            assert await transport.ack(new, [entry.id]) == [Acked.DONE]

    @pytest.mark.guarantee("G4")
    async def test_drained_messages_go_to_others(self, backend: Backend) -> None:
        began, again = asyncio.Event(), asyncio.Event()
        attempts: list[int] = []

        async def hang(delivery: Delivery[ChatRequested]) -> None:
            began.set()
            await asyncio.sleep(60)

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            attempts.append(delivery.attempt)
            if len(attempts) == 5:
                again.set()

        async with backend.bus("router", grace_s=0.1) as one:
            one.subscribe(CHAT_REQUESTS, {ChatRequested: hang}, concurrency=2, prefetch=5)
            for _ in range(5):
                await one.publish(CHAT, to=CHAT_REQUESTS)
            await began.wait()
        async with backend.bus("router") as two:
            two.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            await asyncio.wait_for(again.wait(), 10)
        assert attempts == [1, 1, 1, 1, 1]

    @pytest.mark.guarantee("G4")
    async def test_draining_bus_takes_nothing_new(self, backend: Backend) -> None:
        began, release, second = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def hold(delivery: Delivery[ChatRequested]) -> None:
            began.set()
            await release.wait()

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            assert delivery.attempt == 1
            second.set()

        one, two = backend.bus("router", grace_s=10), backend.bus("router")
        async with two, asyncio.TaskGroup() as tasks:
            await one.__aenter__()
            one.subscribe(CHAT_REQUESTS, {ChatRequested: hold})
            await two.publish(CHAT, to=CHAT_REQUESTS)
            await began.wait()
            leaving = tasks.create_task(_leave(one))
            await asyncio.sleep(0.05)
            await two.publish(CHAT, to=CHAT_REQUESTS)
            two.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            await asyncio.wait_for(second.wait(), 10)
            assert not leaving.done()
            release.set()

    @pytest.mark.guarantee("G8")
    async def test_trim_keeps_what_is_unacked(self, backend: Backend) -> None:
        stream = quick(DOCUMENT_COMMANDS, lease_s=60)
        librarian, memory = lane_of(stream, "librarian", "one"), lane_of(stream, "memory", "one")
        async with backend.bus("gateway") as gateway, bare(backend) as transport:
            for _ in range(4):
                await gateway.publish(INGEST, to=stream)
            ids = [entry.id for entry in await take(transport, librarian, 4)]
            await transport.ack(librarian, ids)
            await asyncio.sleep(0.01)  # what came in the current millisecond is kept
            assert await transport.trim(stream, "0") == 0
            await take(transport, memory, 4)
            await transport.ack(memory, [ids[0], ids[2], ids[3]])
            await transport.trim(stream, "0")
            # Some servers drop what lies behind it as well.
            assert 1 <= len(await backend.entries(stream.physical())) <= 3
            await transport.ack(memory, [ids[1]])
            await transport.trim(stream, "0")
            assert await backend.entries(stream.physical()) == []

    @pytest.mark.guarantee("G8")
    async def test_trim_keeps_retention(self, backend: Backend) -> None:
        stream = replace(CHAT_REQUESTS, retention=timedelta(hours=1))
        lane = lane_of(stream, "router", "one")
        async with backend.bus("gateway") as gateway, bare(backend) as transport:
            await gateway.publish(CHAT, to=stream)
            (entry,) = await take(transport, lane, 1)
            await transport.ack(lane, [entry.id])
            assert await transport.trim(stream, "0") == 0

    @pytest.mark.guarantee("G8")
    async def test_reader_of_a_lane_trims_it(self, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("archive_bus._trimming.TRIM_S", 0.1)
        seen: list[str] = []

        async def handle(delivery: Delivery[EmbedRequested]) -> None:
            seen.append(delivery.envelope.id)

        async with backend.bus("router") as router:
            for _ in range(3):
                await router.publish(EmbedRequested(texts=("text",)), to=ENGINE_JOBS, partition="small")
        async with backend.bus("engine") as engine:
            engine.subscribe(ENGINE_JOBS, {EmbedRequested: handle}, partition="small")
            async with asyncio.timeout(60):
                while len(seen) < 3 or await backend.entries(ENGINE_JOBS.physical("small")):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.02)
        assert len(set(seen)) == len(seen) == 3

    @pytest.mark.guarantee("G5")
    async def test_outage_in_handler_is_no_attempt(self, backend: Backend) -> None:
        attempts: list[int] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            attempts.append(delivery.attempt)
            if len(attempts) < 4:
                raise BusUnavailable("something a handler needs is away")

        stream = replace(quick(CHAT_REQUESTS), attempts=2)
        async with backend.bus("router") as router:
            router.subscribe(stream, {ChatRequested: handle})
            await router.publish(CHAT, to=stream)
            await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
        assert attempts == [1, 1, 1, 1]


async def _leave(bus: Bus) -> None:
    await bus.__aexit__(None, None, None)
