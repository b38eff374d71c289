"""A streamed answer is kept while it streams, and whoever comes later goes on where another stopped."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from archive_blobs import FolderBlobs
from archive_bus import Answered, Delivery, NoSuchLog, Origin, Reject, Retry
from archive_contracts.base import Failed, Message, Problem
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.envelope import INLINE_LIMIT
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.conformance.backend import Backend, Feature, needs, quick
from archive_testkit.waiting import eventually

CHAT = ChatRequested(body="{}", model="m")
COMPLETED = ChatCompleted(engine="e", pool="p", model="m")
KEPT = Origin(log="the-answer")


async def told(answers: AsyncIterator[Answered | None]) -> list[tuple[int, str, bool]]:
    """Return place and content of what follows, to the end."""
    return [(each.seq, _text(each.message), each.last) async for each in answers if each]


def _text(message: Message) -> str:
    return message.body if isinstance(message, ChatDelta) else message.type


async def speak(delivery: Delivery[ChatRequested]) -> None:
    """Answer with three deltas and an end."""
    for number in range(3):
        _ = delivery.emit(ChatDelta(body=str(number)))
    await delivery.reply(COMPLETED)


WHOLE = [(1, "0", False), (2, "1", False), (3, "2", False), (4, ChatCompleted.type, True)]


@pytest.mark.usefixtures("_logs")
class Answering:
    """Keeping, resuming and ending answers."""

    @pytest.fixture
    def _logs(self, backend: Backend) -> None:
        needs(backend, Feature.ANSWER_LOGS)

    async def test_answer_resumes_at_any_place(self, backend: Backend) -> None:
        async with backend.bus("gateway") as one, backend.bus("gateway") as two, backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: speak})
            async with one.open(CHAT, to=CHAT_REQUESTS, origin=KEPT) as call:
                places = [(await call.next(), call.seq)[1] for _ in range(4)]
            for after in range(5):
                assert await told(two.follow_log(KEPT.log, after=after)) == WHOLE[after:]
        assert places == [1, 2, 3, 4]

    async def test_follower_hears_while_it_streams(self, backend: Backend) -> None:
        more = asyncio.Event()

        async def pause(delivery: Delivery[ChatRequested]) -> None:
            await delivery.emit(ChatDelta(body="0"))
            await more.wait()
            await delivery.reply(COMPLETED)

        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: pause})
            async with gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT):
                seen: list[tuple[int, bool]] = []
                async for answered in router.follow_log(KEPT.log):
                    if answered:
                        seen.append((answered.seq, answered.last))
                        more.set()
        assert seen == [(1, False), (2, True)]

    async def test_unopened_log_keeps_nothing(self, backend: Backend) -> None:
        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: speak})
            await gateway.publish(CHAT, to=CHAT_REQUESTS, origin=KEPT)
            await eventually(lambda: router.counters().get(("chat.requests", "done")) == 1)
            with pytest.raises(NoSuchLog):
                await told(gateway.follow_log(KEPT.log))

    async def test_foreign_tenant_finds_nothing(self, backend: Backend) -> None:
        foreign = Origin(log=KEPT.log, tenant="acme")
        async with backend.bus("gateway") as gateway, gateway.open(CHAT, to=CHAT_REQUESTS, origin=foreign):
            with pytest.raises(NoSuchLog):
                await told(gateway.follow_log(KEPT.log))

    async def test_second_run_goes_on_behind_the_first(self, backend: Backend) -> None:
        async def handle(delivery: Delivery[ChatRequested]) -> None:
            await delivery.emit(ChatDelta(body=f"run {delivery.attempt}"))
            if delivery.attempt == 1:
                raise Retry("again", delay_s=0.0)
            await delivery.reply(COMPLETED)

        stream = quick(CHAT_REQUESTS)
        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(stream, {ChatRequested: handle})
            async with gateway.open(CHAT, to=stream, origin=KEPT):
                heard = await told(gateway.follow_log(KEPT.log))
        assert heard == [(1, "run 1", False), (2, "run 2", False), (3, ChatCompleted.type, True)]

    async def test_nothing_follows_the_end(self, backend: Backend) -> None:
        async with backend.bus("gateway") as gateway, gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT):
            assert await gateway.reply(COMPLETED, origin=KEPT)
            await gateway.reply(ChatDelta(body="late"), origin=KEPT, seq=7, last=False)
            assert not await gateway.reply(COMPLETED, origin=KEPT)
            assert await told(gateway.follow_log(KEPT.log)) == [(1, ChatCompleted.type, True)]

    async def test_rejection_ends_the_log(self, backend: Backend) -> None:
        async def reject(delivery: Delivery[ChatRequested]) -> None:
            raise Reject(Problem(code="no_lane", message="nobody serves that"))

        async with backend.bus("gateway") as gateway, backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: reject})
            async with gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT):
                assert await told(gateway.follow_log(KEPT.log)) == [(1, Failed.type, True)]

    async def test_large_end_is_kept(self, backend: Backend, tmp_path: Path) -> None:
        text = "é" * INLINE_LIMIT
        blobs = FolderBlobs(tmp_path)
        gateway = backend.bus("gateway", blobs=blobs)
        async with gateway, gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT):
            await gateway.reply(COMPLETED.model_copy(update={"text": text}), origin=KEPT)
            (answered,) = [each async for each in gateway.follow_log(KEPT.log)]
        assert answered
        assert isinstance(answered.message, ChatCompleted)
        assert answered.message.text == text

    async def test_handler_ends_when_nobody_listens(self, backend: Backend) -> None:
        outcome: dict[str, bool] = {}
        began = asyncio.Event()

        async def handle(delivery: Delivery[ChatRequested]) -> None:
            with delivery.while_heard() as scope:
                began.set()
                await asyncio.sleep(3)
            outcome[delivery.origin.log] = scope.cancelled_caught

        async with backend.bus("router") as router:
            router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
            async with (
                backend.bus("gateway") as gateway,
                gateway.open(CHAT, to=CHAT_REQUESTS),
                gateway.open(CHAT, to=CHAT_REQUESTS, origin=KEPT),
            ):
                await began.wait()
            await eventually(lambda: len(outcome) == 2)
        assert outcome == {"": True, KEPT.log: False}
