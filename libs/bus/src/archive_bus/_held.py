"""A message in this process's hands."""

import asyncio

from archive_bus._transport import Entry


class Held:
    """One entry between its read and its settlement.

    ``begun``: its handler runs; ``counted``: the server was told so; ``settled``: its settlement is on its way, and
    renewing it would undo that; ``lost``: another consumer has it, or may have it at any time.
    """

    __slots__ = ("begun", "counted", "entry", "lost", "settled", "task")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        self.counted = False
        self.settled = False
        self.lost = False
