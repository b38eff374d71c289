"""Whose turn it is: a queue that is fair between tenants and lets interactive work go before batch work.

Start-time fair queueing (Goyal, Vin, Cheng 1996): each item gets a start tag, the later of the queue's virtual time and
the end of its flow's last item, and the smallest tag goes next. A flow that sends a thousand items delays another
flow's one item by no more than one item of its own, whatever the weights a starving flow cannot be.
"""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

from archive_contracts.chat import Priority

T = TypeVar("T")

WEIGHTS: dict[Priority, float] = {"interactive": 8.0, "batch": 1.0}
"""Turns that a priority gets while both wait."""


@dataclass(slots=True)
class _Flow:
    """The items of one tenant within one priority; ``end`` is the virtual end of the last one."""

    end: float = 0.0
    waiting: int = 0


@dataclass(slots=True)
class _Class(Generic[T]):
    """The tenants of one priority, in equal shares; ``turn`` is when the class goes next among the classes."""

    turn: float = 0.0
    time: float = 0.0
    waiting: int = 0
    items: list[tuple[float, int, T]] = field(default_factory=list[tuple[float, int, T]])
    flows: dict[str, _Flow] = field(default_factory=dict[str, _Flow])


class FairQueue(Generic[T]):
    """Items of tenants and priorities; ``limit`` bounds it.

    The room of one tenant is bounded by the free room, so that however greedy the others are a new tenant finds a
    place: with n greedy tenants each holds limit / (n + 1) (Choudhury, Hahne: Dynamic queue length thresholds, 1998).
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._classes: dict[Priority, _Class[T]] = {priority: _Class() for priority in WEIGHTS}
        self._time = 0.0
        self._order = count()
        self._waiting: dict[int, tuple[Priority, str]] = {}
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, tenant: str) -> bool:
        """Whether the tenant may add another item."""
        return self._held[tenant] < self._limit - len(self)

    def ahead(self, tenant: str, priority: Priority) -> int:
        """Return how many items go before a new one of this tenant, at most: its own, and as many of each other."""
        kind = self._classes[priority]
        mine = kind.flows[tenant].waiting if tenant in kind.flows else 0
        same = sum(min(flow.waiting, mine + 1) for name, flow in kind.flows.items() if name != tenant)
        turns = mine + same + 1
        others = sum(
            min(other.waiting, int(turns * WEIGHTS[name] / WEIGHTS[priority]))
            for name, other in self._classes.items()
            if name != priority
        )
        return mine + same + others

    def push(self, item: T, *, tenant: str, priority: Priority) -> int:
        """Add an item; returns a ticket to withdraw it by."""
        kind = self._classes[priority]
        if not kind.waiting:
            kind.turn = max(kind.turn, self._time)
        flow = kind.flows.setdefault(tenant, _Flow())
        start = max(kind.time, flow.end)
        flow.end = start + 1.0
        flow.waiting += 1
        kind.waiting += 1
        self._held[tenant] += 1
        ticket = next(self._order)
        self._waiting[ticket] = (priority, tenant)
        heapq.heappush(kind.items, (start, ticket, item))
        return ticket

    def withdraw(self, ticket: int) -> None:
        """Leave an item out that nobody waits for any more; one that was popped already is no matter."""
        if known := self._waiting.pop(ticket, None):
            self._settle(*known)

    def pop(self) -> T | None:
        """Return the next item, or None when the queue is empty."""
        while self._waiting:
            name = self._next()
            kind = self._classes[name]
            start, ticket, item = heapq.heappop(kind.items)
            if ticket not in self._waiting:
                continue
            self._settle(*self._waiting.pop(ticket))
            kind.time = start
            self._time = kind.turn
            kind.turn += 1.0 / WEIGHTS[name]
            return item
        return None

    def _next(self) -> Priority:
        classes: list[tuple[float, Priority]] = [
            (kind.turn, name) for name, kind in self._classes.items() if kind.waiting
        ]
        return min(classes, key=lambda pair: pair[0])[1]

    def _settle(self, priority: Priority, tenant: str) -> None:
        kind = self._classes[priority]
        kind.waiting -= 1
        kind.flows[tenant].waiting -= 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        if not kind.waiting:
            # Nobody is owed anything when nobody waits; what is left in the heap was withdrawn.
            kind.flows.clear()
            kind.items.clear()
