"""A process that handles its share of an ordered stream and tells each message; made to be killed or frozen.

Usage: owner.py URL LEASE_S. A line is the key, the number, and the fencing token under which it was handled.
"""

import asyncio
import sys
from dataclasses import replace
from datetime import timedelta

from archive_bus import BusOptions, Delivery, connect
from archive_contracts.chat import ChatCompleted
from archive_contracts.streams import CHAT_EVENTS


async def handle(delivery: Delivery[ChatCompleted]) -> None:
    """Take a while, then tell."""
    await asyncio.sleep(0.002)
    sys.stdout.write(f"{delivery.message.session} {delivery.message.text} {delivery.fence}\n")
    sys.stdout.flush()


async def main(url: str, lease_s: float) -> None:
    """Work until killed."""
    stream = replace(CHAT_EVENTS, partitions=8, key="session", lease=timedelta(seconds=lease_s))
    async with connect(url, url, BusOptions(service="memory")) as bus:
        bus.subscribe(stream, {ChatCompleted: handle}, concurrency=4)
        await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
