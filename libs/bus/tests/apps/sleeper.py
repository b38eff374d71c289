"""A router that is frozen while it handles a message and, thawed, tries everything at once.

Usage: sleeper.py URL LEASE_S. It says on standard output what became of each try.
"""

import asyncio
import sys
from dataclasses import replace
from datetime import timedelta

from archive_bus import BusOptions, Delivery, LeaseLost, clock, connect
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.jobs import JobQueued
from archive_contracts.streams import CHAT_EVENTS, CHAT_REQUESTS, JOBS_JOURNAL

STALE = ChatCompleted(engine="stale", pool="p", model="m")


def say(word: str) -> None:
    """Tell the test at once."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def wait_for_the_thaw(last: float) -> None:
    """Use the processor until a second is missing; not a turn of the event loop passes."""
    while (now := clock()) - last < 1.0:
        last = now


async def handle(delivery: Delivery[ChatRequested]) -> None:
    """Publish in every way there is after the thaw, and then return as if all were well."""
    if delivery.message.model == "waiting":
        say("started what had only waited")
        return
    began = clock()
    say("began")
    wait_for_the_thaw(began)
    _ = delivery.emit(ChatDelta(body="stale"))
    for word, act in (
        ("publish", lambda: delivery.publish(STALE, to=CHAT_EVENTS)),
        ("append", lambda: delivery.append(JobQueued(job_id="j", kind="stale"), to=JOBS_JOURNAL, entity="j")),
        ("reply", lambda: delivery.reply(STALE)),
    ):
        try:
            if await act():
                say(word)
        except (LeaseLost, asyncio.CancelledError):
            continue
    say("tried")


async def main(url: str, lease_s: float) -> None:
    """Work until killed."""
    stream = replace(CHAT_REQUESTS, lease=timedelta(seconds=lease_s))
    async with connect(url, url, BusOptions(service="router", grace_s=0.1)) as bus:
        bus.subscribe(stream, {ChatRequested: handle}, concurrency=1, prefetch=4)
        await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
