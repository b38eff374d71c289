"""redis-py and pydantic with nothing around them: what the rest is measured against.

No retries, no leases, no idempotence, no dead letters: read a batch, validate each, acknowledge the batch.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# redis-py leaves its replies without types.

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from callers import ask_at_once, publish_at_once
from contender import ANSWER, AT_A_TIME, CHAT
from meter import Meter
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from archive_contracts.chat import ChatRequested
from archive_contracts.memory import GetLibraryStats, LibraryStats

STREAM, QUESTIONS, ANSWERS, GROUP = "raw:chat", "raw:questions", "raw:answers", "bench"


class Raw:
    """Bare redis-py."""

    def __init__(self, url: str) -> None:
        self._client: Any = Redis.from_url(url, protocol=2, max_connections=200)

    async def _group(self, stream: str) -> None:
        try:
            await self._client.xgroup_create(stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def fill(self, count: int) -> None:
        """Put messages there."""
        await self._group(STREAM)
        for _ in range(count // 1000):
            pipe = self._client.pipeline(transaction=False)
            for _ in range(1000):
                pipe.xadd(STREAM, {b"type": CHAT.type, b"data": CHAT.to_json()})
            await pipe.execute()

    async def consume(self, meter: Meter) -> None:
        """Read, validate, acknowledge in batches."""
        while True:
            reply = await self._client.xreadgroup(GROUP, "me", {STREAM: ">"}, count=AT_A_TIME, block=1000)
            entries = reply[0][1]
            last = False
            for _, fields in entries:
                ChatRequested.model_validate_json(fields[b"data"])
                last = meter.hit()
            await self._client.xack(STREAM, GROUP, *[entry_id for entry_id, _ in entries])
            if last:
                return

    async def publish(self, meter: Meter, *, at_once: int) -> None:
        """One XADD a message, as many connections as callers."""

        async def one() -> None:
            await self._client.xadd(STREAM, {b"type": CHAT.type, b"data": CHAT.to_json()})

        await publish_at_once(one, meter, at_once=at_once)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Answer each question on the answers' stream."""
        await self._group(QUESTIONS)
        ready()
        while True:
            reply = await self._client.xreadgroup(GROUP, "me", {QUESTIONS: ">"}, count=AT_A_TIME, block=1000)
            if not reply:
                continue
            pipe = self._client.pipeline(transaction=False)
            for entry_id, fields in reply[0][1]:
                GetLibraryStats.model_validate_json(fields[b"data"])
                pipe.xadd(ANSWERS, {b"call": fields[b"call"], b"data": ANSWER.to_json()}, maxlen=10_000)
                pipe.xack(QUESTIONS, GROUP, entry_id)
            await pipe.execute()

    async def ask(self, count: int, *, at_once: int) -> list[float]:
        """Ask and wait; one reader hands the answers out."""
        waiting: dict[bytes, asyncio.Future[LibraryStats]] = {}
        numbers, ended = itertools.count(), asyncio.Event()
        question = GetLibraryStats().to_json()

        async def read() -> None:
            after: Any = "$"
            while not ended.is_set():  # a cancellation can get lost in redis-py's blocking read
                reply = await self._client.xread({ANSWERS: after}, count=AT_A_TIME, block=200)
                for entry_id, fields in reply[0][1] if reply else ():
                    after = entry_id
                    waiting.pop(fields[b"call"]).set_result(LibraryStats.model_validate_json(fields[b"data"]))

        async def one() -> None:
            call = b"%d" % next(numbers)
            answer = waiting[call] = asyncio.get_running_loop().create_future()
            await self._client.xadd(QUESTIONS, {b"call": call, b"data": question}, maxlen=10_000)
            await answer

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            await asyncio.sleep(0.1)
            took = await ask_at_once(one, count, at_once=at_once)
            ended.set()
        return took
