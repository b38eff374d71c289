"""A stream in memory: its entries, its groups, and who holds what."""

import bisect
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from archive_bus import Backlog, Lease, LeaseLost, clock

Fields = Mapping[bytes, bytes]
Id = tuple[int, int]

NEVER: Id = (0, 0)
NOBODY = "-"


@dataclass(slots=True)
class Held:
    """Who holds a pending entry, since when, and until when nobody may, in seconds of the broker's clock."""

    consumer: str
    since: float
    parked: float = 0.0


@dataclass(slots=True)
class Group:
    """A consumer group: how far it has read, what is pending, and the runs of entries, True for those that failed."""

    last: Id = NEVER
    pending: dict[Id, Held] = field(default_factory=dict[Id, Held])
    runs: defaultdict[Id, dict[str, bool]] = field(default_factory=lambda: defaultdict[Id, dict[str, bool]](dict))

    def owns(self, consumer: str, entry: Id) -> bool:
        """Whether the consumer holds the entry."""
        held = self.pending.get(entry)
        return held is not None and held.consumer == consumer

    def settle(self, entry: Id) -> None:
        """Forget an entry that is done with."""
        del self.pending[entry]
        self.runs.pop(entry, None)


@dataclass(slots=True)
class Log:
    """A stream with its groups; ``expires`` is in seconds of the broker's clock."""

    ids: list[Id] = field(default_factory=list[Id])
    fields: dict[Id, Fields] = field(default_factory=dict[Id, Fields])
    last: Id = NEVER
    groups: dict[str, Group] = field(default_factory=dict[str, Group])
    expires: float | None = None

    def after(self, entry: Id, count: int) -> list[Id]:
        """Return the ids of the next entries."""
        start = bisect.bisect_right(self.ids, entry)
        return self.ids[start : start + count]

    def backlog(self, *, dead: Callable[[str], int]) -> list[Backlog]:
        """Return how the groups stand; ``dead`` counts the dead letters of one."""
        return [
            Backlog(
                group=name,
                lag=len(self.ids) - bisect.bisect_right(self.ids, group.last),
                pending=len(group.pending),
                oldest_ms=min((*group.pending, *self.after(group.last, 1)), default=NEVER)[0],
                silent_s=None,
                consumers=len({held.consumer for held in group.pending.values()} - {NOBODY}),
                dead=dead(name),
            )
            for name, group in self.groups.items()
        ]

    def drop_before(self, entry: Id) -> int:
        """Drop older entries; return how many."""
        gone = bisect.bisect_left(self.ids, entry)
        for each in self.ids[:gone]:
            del self.fields[each]
        del self.ids[:gone]
        return gone


def text_of(entry: Id) -> str:
    """Return an entry's id as the bus writes it."""
    return f"{entry[0]}-{entry[1]}"


def id_of(text: str) -> Id:
    """Return an entry's id in an order that compares."""
    ms, _, seq = text.partition("-")
    return int(ms), int(seq or 0)


def in_time(lease: Lease | None) -> None:
    """Raise LeaseLost when the lease under which something is written is over."""
    if lease and clock() >= lease.until:
        raise LeaseLost("the lease had ended when the broker got the message")


def heard_in_time(lease: Lease | None) -> None:
    """As in_time, and tell the lease: nobody may be waiting for the outcome."""
    try:
        in_time(lease)
    except LeaseLost:
        if lease:
            lease.refuse()
        raise
