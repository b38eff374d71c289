"""Requests and streamed replies, deadlines, cancellation, large messages."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from archive_blobs import BlobRef, BlobStoreDown, FolderBlobs
from archive_bus import BusUnavailable, Delivery, Origin, PayloadError, RequestFailed, RequestTimeout
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.envelope import BLOB_PREFIX, INLINE_LIMIT
from archive_contracts.memory import GetLibraryStats, LibraryStats
from archive_contracts.streams import CHAT_REQUESTS, MEMORY_QUERIES, REPLIES
from archive_testkit.conformance.backend import Backend, Feature, needs
from archive_testkit.waiting import eventually

CHAT = ChatRequested(body="{}", model="m")
COMPLETED = ChatCompleted(engine="e", pool="p", model="m")
STATS = LibraryStats(documents=1, chunks=2, vectors=3, memories=4)


class AwayBlobs(FolderBlobs):
    """A store that nobody can read from just now."""

    async def read(self, ref: BlobRef, *, limit: int | None = None) -> bytes:
        """Say so."""
        raise BlobStoreDown(f"{ref} is out of reach")


@pytest.mark.usefixtures("_replies")
class Requesting:
    """One process asks, another answers."""

    @pytest.fixture
    def _replies(self, backend: Backend) -> None:
        needs(backend, Feature.REPLIES)

    @pytest.mark.guarantee("G13")
    async def test_request_gets_typed_answer(self, backend: Backend) -> None:
        async def handle(delivery: Delivery[GetLibraryStats]) -> None:
            await delivery.reply(STATS)

        async with backend.bus("gateway") as gateway, backend.bus("memory") as memory:
            memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: handle})
            assert await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES) == STATS

    @pytest.mark.guarantee("G13")
    async def test_unanswered_request_times_out(self, backend: Backend) -> None:
        async with backend.bus("gateway") as gateway:
            with pytest.raises(RequestTimeout):
                await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES, timeout=2)

    @pytest.mark.guarantee("G13")
    async def test_expired_request_never_starts(self, backend: Backend) -> None:
        started: list[str] = []

        async def handle(delivery: Delivery[GetLibraryStats]) -> None:
            started.append(delivery.envelope.id)

        async with backend.bus("gateway") as gateway:
            with pytest.raises(RequestTimeout):
                await gateway.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES, timeout=2)
            async with backend.bus("memory") as memory:
                memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: handle})
                await eventually(lambda: memory.counters().get(("memory.queries", "expired")) == 1)
        assert started == []

    @pytest.mark.guarantee("G13")
    async def test_deadline_travels_with_outputs(self, backend: Backend) -> None:
        deadlines: list[int] = []

        async def ask_on(delivery: Delivery[ChatRequested]) -> None:
            deadlines.append(delivery.envelope.deadline)
            await delivery.request(GetLibraryStats(), LibraryStats, to=MEMORY_QUERIES, timeout=60)
            await delivery.reply(COMPLETED)

        async def answer(delivery: Delivery[GetLibraryStats]) -> None:
            deadlines.append(delivery.envelope.deadline)
            await delivery.reply(STATS)

        async with backend.bus("gateway") as gateway, backend.bus("router") as router, backend.bus("memory") as memory:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: ask_on})
            memory.subscribe(MEMORY_QUERIES, {GetLibraryStats: answer})
            await gateway.request(CHAT, ChatCompleted, to=CHAT_REQUESTS, timeout=5)
        assert deadlines[0] == deadlines[1]

    async def test_streamed_replies_keep_order(self, backend: Backend) -> None:
        async def handle(delivery: Delivery[ChatRequested]) -> None:
            for number in range(500):
                _ = delivery.emit(ChatDelta(body=str(number)))
            await delivery.reply(COMPLETED)

        got: list[str] = []
        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            async with gateway.open(CHAT, to=CHAT_REQUESTS) as call:
                while isinstance(reply := await call.next(), ChatDelta):
                    got.append(reply.body)
        assert got == [str(number) for number in range(500)]

    async def test_lost_replies_are_told(self, backend: Backend) -> None:
        async with (
            backend.bus("gateway") as gateway,
            backend.bus("router") as router,
            gateway.open(CHAT, to=CHAT_REQUESTS, timeout=60) as call,
        ):
            origin = Origin(reply=f"{gateway.process}/{call.id}")
            for place in (1, 2, 1, 2, 4):  # the first run was repeated; 3 was dropped from a full reply stream
                await router.reply(ChatDelta(body=str(place)), origin=origin, seq=place, last=False)
            heard = [(await call.next(), call.seq)[1] for _ in range(4)]
            with pytest.raises(BusUnavailable, match="replies 3 to 3 were lost"):
                await call.next()
        assert (heard, call.seq) == ([1, 2, 1, 2], 2)

    async def test_dead_caller_is_noticed(self, backend: Backend) -> None:
        async with backend.bus("gateway") as gateway:
            origin = Origin(reply=f"{gateway.process}/call")
        async with backend.bus("router") as router:
            assert not await router.reply(COMPLETED, origin=origin)
        assert await backend.entries(REPLIES.physical(gateway.process)) == []

    async def test_large_messages_travel_by_reference(self, backend: Backend, tmp_path: Path) -> None:
        blobs = FolderBlobs(tmp_path)
        large = "é" * INLINE_LIMIT

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            await delivery.reply(COMPLETED.model_copy(update={"text": delivery.message.body}))

        async with backend.bus("gateway", blobs=blobs) as gateway, backend.bus("router", blobs=blobs) as router:
            question = CHAT.model_copy(update={"body": large})
            async with gateway.open(question, to=CHAT_REQUESTS) as call:
                (sent,) = await backend.entries(CHAT_REQUESTS.physical())
                router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
                answer = await call.next()
        assert sent[b"data"].startswith(BLOB_PREFIX)
        assert isinstance(answer, ChatCompleted)
        assert answer.text == large

    async def test_large_reply_keeps_its_place(self, backend: Backend, tmp_path: Path) -> None:
        blobs = FolderBlobs(tmp_path)

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            for size in (5, INLINE_LIMIT + 1, 4):
                _ = delivery.emit(ChatDelta(body="x" * size))
            if delivery.message.model == "m":
                await delivery.reply(COMPLETED)

        heard: list[int] = []
        async with backend.bus("gateway", blobs=blobs) as gateway, backend.bus("router", blobs=blobs) as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            async with gateway.open(CHAT, to=CHAT_REQUESTS, timeout=60) as call:
                while isinstance(reply := await call.next(), ChatDelta):
                    heard.append(len(reply.body))
            async with gateway.open(CHAT.model_copy(update={"model": "n"}), to=CHAT_REQUESTS, timeout=60) as call:
                heard += [len(reply.body) for _ in range(3) if isinstance(reply := await call.next(), ChatDelta)]
        assert heard == [5, INLINE_LIMIT + 1, 4] * 2

    async def test_store_away_is_no_wrong_answer(self, backend: Backend, tmp_path: Path) -> None:
        async def handle(delivery: Delivery[ChatRequested]) -> None:
            await delivery.reply(COMPLETED.model_copy(update={"text": "x" * INLINE_LIMIT}))

        away, there = AwayBlobs(tmp_path), FolderBlobs(tmp_path)
        async with backend.bus("gateway", blobs=away) as gateway, backend.bus("router", blobs=there) as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            with pytest.raises(BusUnavailable, match="blob store"):
                await gateway.request(CHAT, ChatCompleted, to=CHAT_REQUESTS, timeout=60)

    async def test_unstored_reply_is_no_success(self, backend: Backend) -> None:
        async def handle(delivery: Delivery[ChatRequested]) -> None:
            _ = delivery.emit(ChatDelta(body="x" * INLINE_LIMIT))

        once = replace(CHAT_REQUESTS, attempts=1)
        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(once, {ChatRequested: handle})
            with pytest.raises(RequestFailed, match="no blob store"):
                await gateway.request(CHAT, ChatCompleted, to=once, timeout=60)

    async def test_large_message_needs_blob_store(self, backend: Backend) -> None:
        async with backend.bus("gateway") as gateway:
            with pytest.raises(PayloadError):
                await gateway.publish(CHAT.model_copy(update={"body": "x" * INLINE_LIMIT}), to=CHAT_REQUESTS)

    async def test_cancel_reaches_the_running_block(self, backend: Backend) -> None:
        needs(backend, Feature.BROADCASTS)
        began = asyncio.Event()
        outcome: list[bool] = []

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            # A run is often named by its message: naming it twice must end the block no worse.
            with delivery.cancellable(delivery.envelope.id, delivery.envelope.id) as scope:
                began.set()
                await asyncio.sleep(60)
            outcome.append(scope.cancelled_caught)

        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            target = await gateway.publish(CHAT, to=CHAT_REQUESTS)
            await began.wait()
            await gateway.cancel(target)
            await eventually(lambda: bool(outcome))
        assert outcome == [True]

    async def test_cancelled_before_start_is_known(self, backend: Backend) -> None:
        needs(backend, Feature.BROADCASTS)
        known: dict[str, bool] = {}

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            known[delivery.envelope.id] = await delivery.cancelled()

        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            for name in ("stop", "go"):
                await gateway.publish(CHAT, to=CHAT_REQUESTS, id=name)
            await gateway.cancel("stop")
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            await eventually(lambda: len(known) == 2)
        assert known == {"stop": True, "go": False}
