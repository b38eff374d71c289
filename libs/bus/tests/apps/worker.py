"""A router that publishes what it made of a chat and then waits, to be killed, frozen or terminated there.

Usage: worker.py URL LEASE_S. It says on standard output what happens to it.
"""

import asyncio
import signal
import sys
from dataclasses import replace
from datetime import timedelta

from archive_bus import BusOptions, Delivery, connect
from archive_contracts.chat import ChatCompleted, ChatRequested
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS


def say(word: str) -> None:
    """Tell the test at once."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def handle(delivery: Delivery[ChatRequested]) -> None:
    """Publish the output; never acknowledge."""
    await delivery.publish(ChatCompleted(engine="e", pool="p", model=delivery.message.model), to=CHAT_EVENTS)
    say("began")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        say("cancelled")
        raise


async def main(url: str, lease_s: float) -> None:
    """Work until terminated."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stream = replace(CHAT_REQUESTS, lease=timedelta(seconds=lease_s))
    async with connect(url, url, BusOptions(service="router", grace_s=0.1)) as bus:
        bus.subscribe(stream, {ChatRequested: handle}, concurrency=2, prefetch=10)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
