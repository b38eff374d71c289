"""The client: whole answers one after the other or many at once, and paced streams."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

import aiohttp

WHOLE = json.dumps(
    {"model": "mock", "messages": [{"role": "user", "content": "Say hello to the bench, please."}], "store": False}
)
STREAM = json.dumps(json.loads(WHOLE) | {"stream": True})
JSON = {"content-type": "application/json", "authorization": "Bearer none"}


@dataclass
class Streamed:
    """What a client saw of some streams, in milliseconds."""

    ttft: list[float] = field(default_factory=list[float])
    transit: list[float] = field(default_factory=list[float])
    broken: int = 0


async def whole(url: str, *, count: int, concurrent: int) -> list[float]:
    """Ask for so many whole answers, so many at once; return how long each took, in milliseconds."""
    took: list[float] = []
    left = iter(range(count))
    async with _session() as session:

        async def ask() -> None:
            for _ in left:
                began = time.perf_counter()
                async with session.post(f"{url}/v1/chat/completions", data=WHOLE, headers=JSON) as reply:
                    body = await reply.read()
                    if reply.status != 200:
                        raise RuntimeError(f"{url} answered {reply.status}: {body[:300]!r}")
                took.append((time.perf_counter() - began) * 1000)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrent):
                tasks.create_task(ask())
    return took


async def streams(url: str, *, concurrent: int, rounds: int) -> Streamed:
    """Follow so many streams at once, some rounds of them; each begins at a moment of its own."""
    seen = Streamed()
    async with _session() as session, asyncio.TaskGroup() as tasks:
        for number in range(concurrent):
            tasks.create_task(_follow(session, url, seen, rounds=rounds, delay_s=0.5 * number / concurrent))
    return seen


async def _follow(session: aiohttp.ClientSession, url: str, seen: Streamed, *, rounds: int, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    for _ in range(rounds):
        try:
            whole_stream = await _follow_once(session, url, seen)
        except aiohttp.ClientError:
            whole_stream = False
        seen.broken += not whole_stream


async def _follow_once(session: aiohttp.ClientSession, url: str, seen: Streamed) -> bool:
    began, first, done = time.monotonic_ns(), True, False
    async with session.post(f"{url}/v1/chat/completions", data=STREAM, headers=JSON) as reply:
        async for line in reply.content:
            now = time.monotonic_ns()
            if not line.startswith(b"data: {"):
                done = done or line.startswith(b"data: [DONE]")
                continue
            for stamp in _stamps(line):
                if first:
                    seen.ttft.append((now - began) / 1e6)
                    first = False
                seen.transit.append((now - stamp) / 1e6)
    return done


def _stamps(line: bytes) -> list[int]:
    choices = json.loads(line[6:])["choices"]
    text = choices[0]["delta"].get("content") if choices else None
    return [int(word) for word in text.split()] if text else []


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=120))


def p50(values: Sequence[float]) -> float:
    """Return the median."""
    return median(values)


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return quantiles(values, n=100)[98]
