"""dramatiq on its Redis broker, as its documentation shows it: actors in threads."""

# pyright: basic, reportMissingImports=false
# dramatiq is of the bench group; linters run without it.

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import dramatiq
from contender import ANSWER, CHAT
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend
from dramatiq.worker import Worker
from meter import Meter

from archive_contracts.chat import ChatRequested

THREADS = 8


class Dramatiq:
    """A dramatiq broker with two actors."""

    def __init__(self, url: str) -> None:
        logging.getLogger("dramatiq").setLevel(logging.ERROR)
        self._meter: Meter | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._broker = RedisBroker(url=url)
        self._results = RedisBackend(url=url)
        self._broker.add_middleware(Results(backend=self._results))

        @dramatiq.actor(broker=self._broker, queue_name="chat", max_retries=0)
        def handle(body: str) -> None:
            ChatRequested.model_validate_json(body)
            with self._lock:
                if self._meter and self._meter.hit():
                    self._done.set()

        @dramatiq.actor(broker=self._broker, queue_name="questions", store_results=True)
        def answer() -> dict[str, int]:
            return ANSWER.model_dump()

        self._handle, self._answer = handle, answer

    async def fill(self, count: int) -> None:
        """Put messages there."""
        body = CHAT.to_json().decode()
        for _ in range(count):
            self._handle.send(body)

    async def consume(self, meter: Meter) -> None:
        """Handle in its worker threads."""
        self._meter = meter
        worker = Worker(self._broker, queues={"chat"}, worker_threads=THREADS, worker_timeout=100)
        worker.start()
        await asyncio.to_thread(self._done.wait)
        worker.stop()

    async def publish(self, meter: Meter, *, at_once: int) -> None:
        """Send from one thread: more of them only add contention."""
        del at_once
        while True:
            self._handle.send(CHAT.to_json().decode())
            if meter.hit():
                return

    async def serve(self, ready: Callable[[], None]) -> None:
        """Run its worker."""
        worker = Worker(self._broker, queues={"questions"}, worker_threads=THREADS, worker_timeout=100)
        worker.start()
        ready()
        await asyncio.Event().wait()

    async def ask(self, count: int, *, at_once: int) -> list[float]:
        """Send and wait for the result, a thread for each caller."""

        def one(_: int) -> float:
            began = time.perf_counter()
            self._answer.send().get_result(backend=self._results, block=True, timeout=10_000)
            return time.perf_counter() - began

        def all_of_them() -> list[float]:
            with ThreadPoolExecutor(at_once) as pool:
                return list(pool.map(one, range(count)))

        return await asyncio.to_thread(all_of_them)
