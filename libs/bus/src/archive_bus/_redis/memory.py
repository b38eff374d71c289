"""Whether the server has memory for more."""

import asyncio
from typing import Any

from archive_bus._errors import Busy
from archive_bus._lease import clock
from archive_bus._writer import Writer

LOOK_S = 1.0


class MemoryWatch:
    """Looks at the server's memory, about once a second while something is published, and beside it."""

    def __init__(self, writer: Writer, share: float) -> None:
        self._writer = writer
        self._share = share
        self._looked = 0.0
        self._full = ""

    def admit(self) -> None:
        """Raise Busy while the memory is nearly full."""
        if (now := clock()) - self._looked > LOOK_S:
            self._looked = now
            self._writer.send("INFO", "memory").add_done_callback(self._see)
        if self._full:
            raise Busy(self._full)

    def _see(self, reply: "asyncio.Future[Any]") -> None:
        if reply.cancelled() or reply.exception() is not None:
            return
        facts = dict(line.split(b":", 1) for line in reply.result().splitlines() if b":" in line)
        room = int(facts.get(b"maxmemory", 0)) or int(facts.get(b"total_system_memory", 0))
        used = int(facts.get(b"used_memory", 0))
        full = room and used > self._share * room
        self._full = f"the server uses {used / room:.0%} of its memory" if full else ""
