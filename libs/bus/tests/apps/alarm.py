"""A process that sets timers, one that publishes nothing yet, or one that tells how late each message came.

Usage: alarm.py set URL COUNT FROM_S SPREAD_S, alarm.py idle URL, or alarm.py hear URL. Made to be killed. Times count
from now; lateness is in milliseconds.
"""

import asyncio
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from archive_bus import Bus, BusOptions, Delivery, connect
from archive_contracts.chat import ChatRequested
from archive_contracts.streams import CHAT_REQUESTS

AT_ONCE = 64
STREAM = replace(CHAT_REQUESTS, lease=timedelta(seconds=2))


def say(text: str) -> None:
    """Tell the test at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def hear(delivery: Delivery[ChatRequested]) -> None:
    """Tell which message came, and how late."""
    name, _, due = delivery.message.model.partition(" ")
    say(f"{name} {time.time() * 1000 - float(due):.3f}")


async def set_timers(bus: Bus, count: int, begin_s: float, spread_s: float) -> None:
    """Set timers, their times spread evenly, in an order of its own."""
    begin = time.time() + begin_s
    numbers = iter(sorted(range(count), key=lambda number: number * 7919 % count))

    async def some() -> None:
        for number in numbers:
            due = begin + spread_s * number / count
            chat = ChatRequested(body="{}", model=f"{number} {due * 1000:.3f}")
            await bus.publish(chat, to=STREAM, at=datetime.fromtimestamp(due, UTC), id=f"timer-{number}")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(some())


async def main(what: str, url: str, *numbers: str) -> None:
    """Do one or the other until killed."""
    service = "router" if what == "hear" else "gateway"
    async with connect(url, url, BusOptions(service=service)) as bus:
        if what == "set":
            count, begin_s, spread_s = numbers
            await set_timers(bus, int(count), float(begin_s), float(spread_s))
        elif what == "hear":
            bus.subscribe(STREAM, {ChatRequested: hear}, concurrency=16)
        say("ready")
        await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
