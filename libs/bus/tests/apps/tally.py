"""A router that writes down the id of each message it handles; made to be killed at any moment.

Usage: tally.py URL LEASE_S FOLDER TAKES_S. Each process has a file of its own in the folder, an id a line.
"""

import asyncio
import os
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from archive_bus import BusOptions, Delivery, connect
from archive_contracts.chat import ChatRequested
from archive_contracts.streams import CHAT_REQUESTS


async def main(url: str, lease_s: float, folder: Path, takes_s: float) -> None:
    """Work until killed."""
    file = os.open(folder / f"{os.getpid()}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        if takes_s:
            await asyncio.sleep(takes_s)
        # One call a line: what a kill leaves behind is whole.
        os.write(file, delivery.envelope.id.encode() + b"\n")

    stream = replace(CHAT_REQUESTS, lease=timedelta(seconds=lease_s))
    async with connect(url, url, BusOptions(service="router")) as bus:
        bus.subscribe(stream, {ChatRequested: handle}, concurrency=16)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])))
