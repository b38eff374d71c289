"""A message in this process's hands."""

import asyncio
from collections.abc import Iterable, Sequence
from secrets import token_hex
from typing import Protocol

from archive_bus._errors import LeaseLost
from archive_bus._lease import clock
from archive_bus._transport import Entry, Runs, Starts


class Keeper(Protocol):
    """Who renews leases and hears of lost ones."""

    async def renew(self, entries: Sequence["Held"]) -> None:
        """Renew the leases of what is still owned; lose the rest."""
        ...

    def lost(self, held: "Held") -> None:
        """Take note of a lost lease."""
        ...

    def refused(self) -> None:
        """Take note of an output that came too late."""
        ...

    def starts(self, held: "Held") -> None:
        """Tell the server that a handler runs."""
        ...

    def waits(self, held: "Held") -> None:
        """Tell the server that a handler runs, if it still does in a moment."""
        ...


class Held:
    """One entry between its read and its settlement, and the lease on it.

    ``begun``: its handler runs; ``starting``: the server is, or was, told so; ``settled``: its settlement is on its
    way, and renewing it would undo that; ``acking``: nothing but the answer to its acknowledgement is still to come;
    ``over``: it is settled for good; ``lost``: another consumer has it, or may have it at any time. ``attempt`` is 0
    until it is known which run this is; ``ran``: its handler was called; ``spent``: its run has failed; ``once`` is the
    message id under which its effect is noted in the group's inbox.
    """

    # Of the class until they change: one is made for each message, and most of it never does.
    task: "asyncio.Task[None] | None" = None
    starting: "asyncio.Future[Starts] | None" = None
    attempt = 0
    begun = False
    settled = False
    acking = False
    ran = False
    spent = False
    once = ""
    over = False
    lost = False
    _run = ""

    def __init__(self, entry: Entry, keeper: Keeper, *, lease_s: float) -> None:
        self._keeper = keeper
        self.entry = entry
        self.until = entry.since + lease_s

    async def confirm(self, *, renew: bool = False) -> None:
        """Renew a lease that is over, with ``renew`` any; raises LeaseLost when another consumer has the entry."""
        if not self.lost and (renew or clock() >= self.until):
            await self._keeper.renew([self])
        if self.lost:
            self._keeper.refused()
            raise LeaseLost("another process has taken the message over")

    @property
    def run(self) -> str:
        """The name of its run, by which the server knows what became of it."""
        if not self._run:
            self._run = token_hex(4)
        return self._run

    def begins(self) -> None:
        """Have the server told that its handler runs, unless it is or was."""
        if self.starting is None:
            self._keeper.starts(self)

    def waits(self) -> None:
        """Have the server told that its handler runs, unless that ends in a moment."""
        if self.starting is None:
            self._keeper.waits(self)

    def refuse(self) -> None:
        """Count an output that came too late, and cancel the handler."""
        self._keeper.refused()
        self.lose()

    def lose(self) -> None:
        """Give up all rights: the handler is cancelled."""
        if self.lost:
            return
        self.lost = True
        self._keeper.lost(self)
        if self.task:
            self.task.cancel()


def runs_of(all_held: Iterable[Held]) -> Runs:
    """Return the runs of entries."""
    return {held.entry.id: held.run for held in all_held}
