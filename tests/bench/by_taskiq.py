"""taskiq with its stream broker, as its documentation shows it."""

# pyright: basic, reportMissingImports=false
# taskiq is of the bench group; linters run without it.

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from callers import ask_at_once, publish_at_once
from contender import ANSWER, AT_A_TIME, CHAT
from meter import Meter
from taskiq.receiver import Receiver
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from archive_contracts.chat import ChatRequested
from archive_contracts.memory import LibraryStats

POLL_S = 0.001
"""How often it looks for a result; its default of 0.2 s would say nothing about its own cost."""


class Taskiq:
    """A taskiq broker with two tasks."""

    def __init__(self, url: str) -> None:
        logging.getLogger("taskiq").setLevel(logging.ERROR)
        self._meter: Meter | None = None
        self._done = asyncio.Event()
        self._broker: Any = RedisStreamBroker(url, consumer_id="0", xread_count=AT_A_TIME, max_connection_pool_size=200)
        self._asking: Any = RedisStreamBroker(
            url, queue_name="taskiq:questions", consumer_id="0", xread_count=AT_A_TIME, max_connection_pool_size=200
        ).with_result_backend(RedisAsyncResultBackend(url, result_ex_time=60))

        @self._broker.task(task_name="handle")
        async def handle(message: ChatRequested) -> None:
            if self._meter and self._meter.hit():
                self._done.set()

        @self._asking.task(task_name="answer")
        async def answer() -> LibraryStats:
            return ANSWER

        self._handle, self._answer = handle, answer

    async def fill(self, count: int) -> None:
        """Put messages there."""
        await self._broker.startup()
        for _ in range(count // 100):
            await asyncio.gather(*(self._handle.kiq(CHAT) for _ in range(100)))

    async def consume(self, meter: Meter) -> None:
        """Handle as its worker does."""
        self._meter = meter
        receiver = Receiver(self._broker, max_async_tasks=AT_A_TIME, max_prefetch=AT_A_TIME)
        finish = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(receiver.listen(finish))
            await self._done.wait()
            finish.set()
            listening.cancel()

    async def publish(self, meter: Meter, *, at_once: int) -> None:
        """Send tasks."""
        await self._broker.startup()
        await publish_at_once(lambda: self._handle.kiq(CHAT), meter, at_once=at_once)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Run its worker."""
        receiver = Receiver(self._asking, max_async_tasks=AT_A_TIME, max_prefetch=AT_A_TIME)
        await self._asking.startup()
        ready()
        await receiver.listen(asyncio.Event())

    async def ask(self, count: int, *, at_once: int) -> list[float]:
        """Send a task and wait for its result."""
        await self._asking.startup()

        async def one() -> None:
            task = await self._answer.kiq()
            result = await task.wait_result(check_interval=POLL_S, timeout=10)
            LibraryStats.model_validate(result.return_value)

        return await ask_at_once(one, count, at_once=at_once)
