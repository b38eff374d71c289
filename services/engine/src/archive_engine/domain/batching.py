"""Merge concurrent embedding requests into batches and hand every request its own rows back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Item(Generic[K]):
    """One text of one request: whose it is, and which of them."""

    key: K
    index: int


@dataclass(slots=True)
class _Request(Generic[Row]):
    costs: tuple[int, ...]
    rows: dict[int, Row]
    taken: int = 0


class Batcher(Generic[K, Row]):
    """Fair, bounded batches over the requests that are open now.

    Requests take turns text by text, so one with thousands of texts delays a short one by a batch, not by all of
    its own. Not safe from several threads: the one that awaits requests also owns the batcher.
    """

    def __init__(self, *, max_texts: int, max_tokens: int) -> None:
        """Bound a batch by its texts and by the sum of their tokens.

        Raises:
            ValueError: a bound below one.
        """
        if max_texts < 1 or max_tokens < 1:
            raise ValueError("max_texts and max_tokens must be at least 1")
        self._max_texts = max_texts
        self._max_tokens = max_tokens
        self._open: OrderedDict[K, _Request[Row]] = OrderedDict()
        self._waiting: OrderedDict[K, None] = OrderedDict()

    def __len__(self) -> int:
        """Count the texts not yet in any batch."""
        return sum(len(self._open[key].costs) - self._open[key].taken for key in self._waiting)

    def add(self, key: K, costs: Sequence[int]) -> None:
        """Open a request of one text per entry of `costs`, the tokens of each.

        Raises:
            ValueError: the key is open already, or there is no text: nothing would ever complete it.
        """
        if key in self._open or not costs:
            raise ValueError(f"request {key!r} is open already or has no texts")
        self._open[key] = _Request(tuple(costs), rows={})
        self._waiting[key] = None

    def drop(self, key: K) -> None:
        """Forget a request whose caller has gone; what of it is being computed is ignored on return."""
        self._open.pop(key, None)
        self._waiting.pop(key, None)

    def take(self) -> list[Item[K]]:
        """Return the next batch, empty when nothing waits.

        A text over the token bound goes alone: it must be computed at some time.
        """
        batch: list[Item[K]] = []
        tokens = 0
        while self._waiting and len(batch) < self._max_texts:
            key = next(iter(self._waiting))
            request = self._open[key]
            cost = request.costs[request.taken]
            if batch and tokens + cost > self._max_tokens:
                break
            batch.append(Item(key, request.taken))
            tokens += cost
            request.taken += 1
            if request.taken == len(request.costs):
                del self._waiting[key]
            else:
                self._waiting.move_to_end(key)
        return batch

    def put(self, batch: Sequence[Item[K]], rows: Sequence[Row]) -> list[tuple[K, list[Row]]]:
        """Take the rows of a batch and return the requests that are now complete, their rows in order.

        Raises:
            ValueError: there is not one row for each text of the batch.
        """
        done: list[tuple[K, list[Row]]] = []
        for item, row in zip(batch, rows, strict=True):
            request = self._open.get(item.key)
            if request is None:
                continue
            request.rows[item.index] = row
            if len(request.rows) == len(request.costs):
                del self._open[item.key]
                done.append((item.key, [request.rows[index] for index in range(len(request.costs))]))
        return done
