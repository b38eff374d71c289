"""A worker of a lane whose model answers after a while, as a process: python scale_worker.py URL POOL WAIT_S.

It says "ready", then for each job a line "id began_at ended_at"; SIGTERM drains it.
"""

import asyncio
import signal
import sys
import time

import uvloop

from archive_bus import BusOptions, Delivery, connect
from archive_contracts.engine import EmbedRequested
from archive_contracts.streams import ENGINE_JOBS

SLOTS = 4


async def work(url: str, pool: str, wait_s: float) -> None:
    """Serve the lane until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def serve(delivery: Delivery[EmbedRequested]) -> None:
        began = time.time()
        # What a worker does while its model computes: nothing.
        await asyncio.sleep(wait_s)
        say(f"{delivery.envelope.id} {began:.4f} {time.time():.4f}")

    async with connect(url, url, BusOptions(service="engine", grace_s=20.0)) as bus:
        bus.subscribe(ENGINE_JOBS, {EmbedRequested: serve}, partition=pool, concurrency=SLOTS, prefetch=1)
        say("ready")
        await stop.wait()


def say(line: str) -> None:
    """Tell whoever started this process."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(sys.argv[1], sys.argv[2], float(sys.argv[3])))
