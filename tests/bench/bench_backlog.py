"""A backlog of a million messages: is the consumer's memory flat, and its rate of draining constant?

The consumer is a process of its own with every guarantee on; it notes twice a second what it holds, what it has done,
and the CPU that it and the server have used. A rate is also what other users of the machine leave: what would make it
fall with the length of the stream, in the consumer or in the server, shows in the CPU of a message. Writes
.bench/backlog.json and a plot, .bench/backlog.svg.

Usage: python tests/bench/bench_backlog.py [--count 1000000]
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import uvloop
from contender import AT_A_TIME, CHAT
from plot import Curve, svg
from redis.asyncio import Redis

from archive_bus import BusOptions, Delivery, connect, wire
from archive_contracts.chat import ChatRequested
from archive_contracts.envelope import Envelope, stamp
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.servers import RedisServer

OUT = Path(".bench")
SAMPLE_S = 0.5
PIPELINE = 2000
WARM_SHARE = 0.05
"""The first part of the backlog fills caches and the prefetch; flat means flat from there on."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds since the start, messages done, resident MiB, seconds of CPU so far: the consumer's, the server's."""

    at_s: float
    done: int
    rss_mb: float
    cpu_s: float
    server_cpu_s: float


async def fill(url: str, count: int) -> None:
    """Put the backlog there, as our publisher would have written it."""
    key = CHAT_REQUESTS.physical()
    async with Redis.from_url(url) as client:  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        await client.xgroup_create(key, "router", id="0", mkstream=True)
        for first in range(0, count, PIPELINE):
            pipe = client.pipeline(transaction=False)
            for number in range(first, min(first + PIPELINE, count)):
                sealed = Envelope(
                    id=f"{number:032x}", type=CHAT.type, source="gateway", time=stamp(), data=CHAT.to_json()
                )
                fields: dict[Any, Any] = dict(wire(sealed))
                pipe.xadd(key, fields)
            await pipe.execute()


async def drain(url: str, count: int, *, server_pid: int) -> None:
    """Consume the backlog and print samples as lines of JSON."""
    done, process, server, began = 0, psutil.Process(), psutil.Process(server_pid), time.monotonic()
    ended = asyncio.Event()

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        nonlocal done
        del delivery
        done += 1
        if done == count:
            ended.set()

    async def sample() -> None:
        while not ended.is_set():
            rss, served = process.memory_info().rss / (1 << 20), server.cpu_times()
            sampled = Sample(time.monotonic() - began, done, rss, time.process_time(), served.user + served.system)
            sys.stdout.write(json.dumps(astuple(sampled)) + "\n")
            await asyncio.sleep(SAMPLE_S)

    async with connect(url, url, BusOptions(service="router")) as bus, asyncio.TaskGroup() as tasks:
        bus.subscribe(CHAT_REQUESTS, {ChatRequested: handle}, concurrency=AT_A_TIME)
        tasks.create_task(sample())
        await ended.wait()


def figures(samples: Sequence[Sample], count: int) -> dict[str, float]:
    """Return how flat and how fast, from the samples after the warm-up, a tenth of the time after another."""
    steady = [sample for sample in samples if sample.done >= count * WARM_SHARE]
    tenth = max(1, len(steady) // 10)
    coarse = steady[::tenth]
    parts = [(later, one, later.done - one.done) for one, later in pairwise(coarse)]
    rates = [done / (later.at_s - one.at_s) for later, one, done in parts]
    costs = [(later.cpu_s - one.cpu_s) / done * 1e6 for later, one, done in parts]
    served = [(later.server_cpu_s - one.server_cpu_s) / done * 1e6 for later, one, done in parts]
    memory = [sample.rss_mb for sample in steady]
    return {
        "backlog_messages": count,
        "backlog_rss_mb": round(max(memory), 1),
        "backlog_rss_growth_percent": round((max(memory) / memory[0] - 1) * 100, 2),
        "backlog_rate": round(median(rates)),
        "backlog_rate_spread_percent": _spread(rates),
        "backlog_cpu_us": round(median(costs), 1),
        "backlog_cpu_spread_percent": _spread(costs),
        "backlog_cpu_drift_percent": _drift(costs),
        "backlog_server_cpu_us": round(median(served), 1),
        "backlog_server_cpu_spread_percent": _spread(served),
        "backlog_server_cpu_drift_percent": _drift(served),
        "backlog_drain_s": round(samples[-1].at_s, 1),
    }


def _spread(values: Sequence[float]) -> float:
    """Return by how much of the median the extremes differ, in per cent."""
    return round((max(values) - min(values)) / median(values) * 100, 1)


def _drift(values: Sequence[float]) -> float:
    """Return by how much the median of the second half is above that of the first, in per cent."""
    half = len(values) // 2
    return round((median(values[-half:]) / median(values[:half]) - 1) * 100, 1)


def plotted(samples: Sequence[Sample]) -> str:
    """Return memory, rate and CPU over time as a drawing."""
    moved = [(one, two) for one, two in pairwise(samples) if two.done > one.done]
    rate = [((one.at_s + two.at_s) / 2, (two.done - one.done) / (two.at_s - one.at_s)) for one, two in moved]
    cost = [((one.at_s + two.at_s) / 2, (two.cpu_s - one.cpu_s) / (two.done - one.done) * 1e6) for one, two in moved]
    return svg(
        [
            Curve("resident memory of the consumer, MiB", [(sample.at_s, sample.rss_mb) for sample in samples]),
            Curve("messages handled a second", rate),
            Curve("CPU of the consumer a message, us", cost),
        ],
        across="seconds since the start",
    )


def measure(count: int) -> Sequence[Sample]:
    """Fill, drain in a process of its own, and return its samples."""
    server = RedisServer().start()
    try:
        asyncio.run(fill(server.url, count))
        served = ["--drain", server.url, "--server-pid", str(server.pid)]
        words = [sys.executable, __file__, *served, "--count", str(count)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    finally:
        server.stop()
    return [Sample(*json.loads(line)) for line in done.stdout.splitlines()]


def main() -> None:
    """Measure and write, or be the consumer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--drain", metavar="URL", help="be the consumer")
    parser.add_argument("--server-pid", type=int, help="whose CPU the consumer notes beside its own")
    args = parser.parse_args()
    if args.drain:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(drain(args.drain, args.count, server_pid=args.server_pid))
        return
    samples = measure(args.count)
    reached = figures(samples, args.count)
    table = [{"at_s": round(s.at_s, 2), "done": s.done, "rss_mb": round(s.rss_mb, 2)} for s in samples]
    OUT.mkdir(exist_ok=True)
    (OUT / "backlog.json").write_text(json.dumps({"figures": reached, "table": table}) + "\n")
    (OUT / "backlog.svg").write_text(plotted(samples))
    sys.stdout.write("".join(f"{name:<30} {value}\n" for name, value in reached.items()))


if __name__ == "__main__":
    main()
