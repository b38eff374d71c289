"""A gateway that asks, keeps the answer, and tells each place it has heard; made to be killed in the middle.

Usage: reader.py URL LOG.
"""

import asyncio
import sys

from archive_bus import BusOptions, Origin, connect
from archive_contracts.chat import ChatDelta, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS


async def main(url: str, log: str) -> None:
    """Read until killed."""
    chat = ChatRequested(body="{}", model="m", stream=True)
    async with (
        connect(url, url, BusOptions(service="gateway")) as bus,
        bus.open(chat, to=CHAT_REQUESTS, origin=Origin(log=log), timeout=120) as call,
    ):
        while isinstance(delta := await call.next(), ChatDelta):
            sys.stdout.write(f"{call.seq} {delta.body}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
