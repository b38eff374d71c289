"""One contender doing one thing in a process of its own; prints what it measured as JSON.

Usage: python client.py CONTENDER fill|consume|publish|serve|ask URL COUNT AT_ONCE
"""

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from importlib import import_module
from typing import Any

import uvloop
from contender import Contender
from meter import Meter, percentiles, rss_mb

CONTENDERS = {
    "raw": ("by_raw", "Raw"),
    "ours": ("by_ours", "Ours"),
    "traced": ("by_ours", "traced"),
    "faststream": ("by_faststream", "FastStreamOneByOne"),
    "taskiq": ("by_taskiq", "Taskiq"),
    "dramatiq": ("by_dramatiq", "Dramatiq"),
}


async def measure(name: str, what: str, url: str, *, count: int, at_once: int) -> dict[str, float]:
    """Do one thing and return what it cost."""
    module, maker = CONTENDERS[name]
    contender: Contender = getattr(import_module(module), maker)(url)
    meter = Meter(count)
    if what == "fill":
        await contender.fill(count)
        return {}
    if what == "serve":
        await contender.serve(lambda: say({"ready": 1}))
    if what == "ask":
        began = time.perf_counter()
        took = await contender.ask(count, at_once=at_once)
        p50, p99 = percentiles(took)
        return {"p50_ms": p50, "p99_ms": p99, "rate": len(took) / (time.perf_counter() - began)}
    doing = contender.consume(meter) if what == "consume" else contender.publish(meter, at_once=at_once)
    await doing
    return {"cpu_us": meter.cpu_us, "rate": meter.rate, "rss_mb": rss_mb()}


def say(value: dict[str, float]) -> None:
    """Tell the parent at once."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def run(doing: "Coroutine[Any, Any, dict[str, float]]") -> dict[str, float]:
    """Run on the loop that services use."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(doing)


if __name__ == "__main__":
    contender_name, thing, server_url = sys.argv[1:4]
    say(run(measure(contender_name, thing, server_url, count=int(sys.argv[4]), at_once=int(sys.argv[5]))))
