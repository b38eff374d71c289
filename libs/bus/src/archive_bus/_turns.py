"""The order of things in one turn of the loop."""

import asyncio
from collections.abc import Sized


async def let_begin(came: Sized) -> None:
    """Let what was handed over begin, and what it writes at once leave, before its reader asks for more.

    To ask takes as long as a small handler does, and somebody waits for that: alone, a request over three hops gets its
    answer a fifth earlier. The first turn begins handlers, in the second the writer that they woke writes.
    """
    for _ in range(2 if came else 0):
        await asyncio.sleep(0)
