"""Proof that a process's event loop turns."""

import asyncio

from archive_testkit.chaos.history import Recorder, What

EVERY_S = 0.1


async def tick(notes: Recorder) -> None:
    """Note a tick every tenth of a second until cancelled."""
    while True:
        notes.note(What.TICK)
        await asyncio.sleep(EVERY_S)
