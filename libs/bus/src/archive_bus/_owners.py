"""What ordered partitions need from a message server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from archive_bus._transport import Entry, Lane


@dataclass(frozen=True, slots=True)
class Adopted:
    """What a new owner finds pending: entries that are its own now, and those that are parked until later."""

    taken: "Sequence[Entry]"
    parked: "Sequence[Entry]"


@dataclass(frozen=True, slots=True)
class Taken:
    """New entries of a partition, and the id that its stream had reached by then."""

    entries: "Sequence[Entry]"
    reached: str


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that owns a partition for a group; ``fence`` is above that of every owner before it."""

    process: str
    fence: int

    def __str__(self) -> str:
        return f"{self.process}:{self.fence}"


class Owners(Protocol):
    """Who reads which partition of an ordered stream. One owner at a time, as long as its lease lasts."""

    async def present(self, lane: "Lane", *, life_s: float) -> Sequence[str]:
        """Say that the lane's consumer takes part in its stream, with a life of 0 that it leaves. Returns who does."""
        ...

    async def own(self, lane: "Lane", *, lease_s: float) -> Owner | None:
        """Take or keep a partition, with a lease of 0 let it go. None: this process does not own it."""
        ...

    async def adopt(self, lane: "Lane", owner: Owner) -> Adopted | None:
        """Take over all that is pending, whoever holds it. None: the owner has been replaced."""
        ...

    async def take(self, lane: "Lane", owner: Owner, *, after: str, most: int) -> Taken | None:
        """Read what this owner was given beyond the last id that arrived, else what is new, at once.

        None: the owner has been replaced.
        """
        ...

    async def changed(self, lane: "Lane", *, since: str) -> None:
        """Return when the stream has gone beyond an id, or after about a second."""
        ...

    async def pending(self, lane: "Lane", ids: Sequence[str]) -> Sequence[bool]:
        """Return which entries the group has not settled."""
        ...
