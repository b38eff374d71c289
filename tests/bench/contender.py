"""What each contender does in a process of its own, and the message they all carry."""

from collections.abc import Callable
from typing import Protocol

from meter import Meter

from archive_contracts.chat import ChatRequested
from archive_contracts.memory import GetLibraryStats, LibraryStats

CHAT = ChatRequested(
    body='{"model":"m","messages":[{"role":"user","content":"What did the report of last spring say about costs?"}]}',
    model="m",
    prompt_chars=58,
    user_turn="What did the report of last spring say about costs?",
)
QUESTION = GetLibraryStats()
ANSWER = LibraryStats(documents=1, chunks=2, vectors=3, memories=4)
AT_A_TIME = 100
"""Messages one read may bring, and handlers that may run at a time."""


class Contender(Protocol):
    """One way to send and to handle messages on a Redis server."""

    async def fill(self, count: int) -> None:
        """Put messages there for ``consume``."""
        ...

    async def consume(self, meter: Meter) -> None:
        """Handle messages and acknowledge each, until the meter has counted the last."""
        ...

    async def publish(self, meter: Meter, *, at_once: int) -> None:
        """Publish until the meter has counted the last, so many callers at once."""
        ...

    async def serve(self, ready: Callable[[], None]) -> None:
        """Answer requests until cancelled."""
        ...

    async def ask(self, count: int, *, at_once: int) -> list[float]:
        """Ask so many times; return the seconds each answer took."""
        ...
