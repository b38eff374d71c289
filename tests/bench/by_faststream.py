"""FastStream as its documentation shows it: one message after another to an annotated handler, acknowledged singly."""

# pyright: reportUnknownMemberType=false
# FastStream leaves parts of its brokers without types.

import asyncio
import logging
from collections.abc import Callable

from callers import ask_at_once, publish_at_once
from contender import ANSWER, AT_A_TIME, CHAT, QUESTION
from faststream.redis import RedisBroker, StreamSub
from meter import Meter

from archive_contracts.chat import ChatRequested
from archive_contracts.memory import GetLibraryStats, LibraryStats

STREAM, QUESTIONS = "faststream:chat", "faststream:questions"


def _broker(url: str) -> RedisBroker:
    logging.getLogger("faststream").setLevel(logging.ERROR)
    return RedisBroker(url, log_level=logging.DEBUG, max_connections=200)


class FastStreamOneByOne:
    """A subscriber of FastStream."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def fill(self, count: int) -> None:
        """Put messages there, behind a group."""
        async with _broker(self._url) as broker:
            client = await broker.connect()
            await client.xgroup_create(STREAM, "bench", id="0", mkstream=True)
            for _ in range(count // 1000):
                await asyncio.gather(*(broker.publish(CHAT, stream=STREAM) for _ in range(100)))
                for _ in range(9):
                    await asyncio.gather(*(broker.publish(CHAT, stream=STREAM) for _ in range(100)))

    async def consume(self, meter: Meter) -> None:
        """Handle one by one."""
        done, broker = asyncio.Event(), _broker(self._url)

        @broker.subscriber(stream=StreamSub(STREAM, group="bench", consumer="me", max_records=AT_A_TIME))
        async def handle(message: ChatRequested) -> None:  # pyright: ignore[reportUnusedFunction] - the decorator's
            del message
            if meter.hit():
                done.set()

        async with broker:
            await broker.start()
            await done.wait()

    async def publish(self, meter: Meter, *, at_once: int) -> None:
        """Publish to the stream."""
        async with _broker(self._url) as broker:
            await publish_at_once(lambda: broker.publish(CHAT, stream=STREAM), meter, at_once=at_once)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Answer by what the handler returns."""
        broker = _broker(self._url)

        @broker.subscriber(stream=StreamSub(QUESTIONS, group="bench", consumer="me", max_records=AT_A_TIME))
        async def handle(message: GetLibraryStats) -> LibraryStats:  # pyright: ignore[reportUnusedFunction]
            del message
            return ANSWER

        async with broker:
            await broker.start()
            ready()
            await asyncio.Event().wait()

    async def ask(self, count: int, *, at_once: int) -> list[float]:
        """Ask by its RPC."""
        async with _broker(self._url) as broker:

            async def one() -> None:
                reply = await broker.request(QUESTION, stream=QUESTIONS, timeout=10)
                LibraryStats.model_validate_json(reply.body)

            return await ask_at_once(one, count, at_once=at_once)
