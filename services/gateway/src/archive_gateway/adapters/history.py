# pyright: reportUnknownMemberType=false
# redis-py leaves the arguments of its commands and constructors partly untyped.
"""The samples of all gateways, kept on the state server for a day."""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, replace
from typing import TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from archive_bus import BusUnavailable, open_client
from archive_gateway.domain.history import EVERY_S, MOST_HOURS, Sample, Traffic
from archive_gateway.domain.ports import Engines, Figures
from archive_telemetry import get_logger

log = get_logger(__name__)
T = TypeVar("T")

KEY = "gateway:{metrics}:history"
PATIENCE_S = 1.0
HOUR_S = 3600.0
_SAMPLES = TypeAdapter(Sample)


class SampleBook:
    """Writes a sample of this gateway now and then, and begins to count ``traffic`` anew."""

    def __init__(self, url: str, *, figures: Figures, engines: Engines, traffic: Traffic) -> None:
        self._redis: Redis = open_client(url, connect_s=PATIENCE_S, answer_s=2.0)
        self._figures = figures
        self._engines = engines
        self._traffic = traffic
        self._process = secrets.token_hex(4)
        self._since = time.time()

    async def run(self) -> None:
        """Write until cancelled; what cannot be written is lost, as all of it may be."""
        while True:
            await asyncio.sleep(EVERY_S)
            sample = self.now()
            self._traffic.clear()
            self._since = sample.at
            try:
                await self.keep(sample)
            except BusUnavailable as error:
                log.warning("a sample is lost", why=str(error))

    def now(self) -> Sample:
        """Return the sample in the making."""
        machine, at = self._figures.machine(), time.time()
        return Sample(
            at=at,
            span_s=max(0.0, at - self._since),
            cpu_percent=machine.cpu_percent,
            memory_mb=machine.memory_used_mb,
            memory_percent=machine.memory_percent,
            engines=sum(member.worker.healthy for member in self._engines.members()),
            traffic=replace(self._traffic),
        )

    async def keep(self, sample: Sample) -> None:
        """Write one sample down. Raises BusUnavailable."""
        # Two gateways may see the same figures at the same time, and a set keeps equal members once.
        member = json.dumps({"process": self._process, **asdict(sample)})
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(KEY, {member: sample.at})
            pipe.zremrangebyscore(KEY, "-inf", sample.at - MOST_HOURS * HOUR_S)
            pipe.expire(KEY, int(MOST_HOURS * HOUR_S))
            await _soon(pipe.execute())

    async def read(self, hours: int) -> list[Sample]:
        """Return the samples of the last hours, of all gateways, oldest first. Raises BusUnavailable."""
        since = time.time() - hours * HOUR_S
        found = await _soon(cast("Awaitable[list[bytes]]", self._redis.zrangebyscore(KEY, since, "+inf")))
        # A day of several gateways takes a good part of a second, in which no token of a stream would leave.
        return await asyncio.to_thread(_samples, found)

    async def clear(self) -> None:
        """Forget them all. Raises BusUnavailable."""
        await _soon(self._redis.delete(KEY))

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()


def _samples(members: Sequence[bytes]) -> list[Sample]:
    return [sample for member in members if (sample := _sample(member))]


def _sample(member: bytes) -> Sample | None:
    """Return a sample, None for what a gateway of another release wrote that had other figures."""
    try:
        return _SAMPLES.validate_json(member)
    except ValidationError:
        return None


async def _soon(asked: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await asked
    except (RedisError, OSError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        raise BusUnavailable(f"the history of the figures is out of reach: {why}") from None
