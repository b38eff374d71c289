"""A text longer than the embedder's window has several vectors; it is as near to a query as its best window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from archive_memory.domain.errors import VectorsRejected
from archive_memory.domain.index import Matrix, unit


@dataclass(frozen=True, eq=False, slots=True)
class QueryVector:
    """A query as the embedder saw it: a vector of shape (dim,) and the identity of the model that made it."""

    model: str
    values: Matrix


@dataclass(frozen=True, eq=False, slots=True)
class WindowVectors:
    """The vectors of several texts: values of shape (sum of counts, dim), ``counts[i]`` of them for text ``i``."""

    model: str
    values: Matrix
    counts: tuple[int, ...]

    def per_text(self, texts: int) -> list[Matrix]:
        """Return for each text its unit vectors, of shape (windows, dim).

        Raises:
            VectorsRejected: the counts do not add up, or do not fit the number of texts.
        """
        if len(self.counts) != texts or min(self.counts, default=0) < 0 or sum(self.counts) != len(self.values):
            raise VectorsRejected(
                f"{len(self.values)} vectors in {len(self.counts)} groups came for {texts} texts.",
                next_step="Embed the texts again; the engine must return one count for each.",
            )
        if not self.counts:
            return []
        vectors = unit(self.values)
        ends = list(accumulate(self.counts))
        return [vectors[end - count : end] for end, count in zip(ends, self.counts, strict=True)]


def best_windows(owners: Sequence[int], scores: Iterable[float]) -> dict[int, float]:
    """Return the best score of each owner, for window scores in the order of their owners."""
    best: dict[int, float] = {}
    for owner, score in zip(owners, scores, strict=True):
        if score > best.get(owner, -np.inf):
            best[owner] = score
    return best


def cosine(score: float) -> float:
    """Return a computed cosine without the rounding that leads out of [-1, 1]."""
    return max(-1.0, min(1.0, score))
