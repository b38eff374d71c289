"""One ranking out of several: weighted sums of max-normalised scores.

Scores of different kinds (BM25, cosine) are made comparable by dividing each list by its best. Rank fusion throws the
distances away: on LoCoMo evidence plain RRF of BM25 and vectors found less than BM25 alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from math import fsum
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ChunkWeights:
    """How much words and meaning count for a passage of a document.

    Measured: between 1:1 and 1:3 Cranfield does not care; HotpotQA wants words to count at least as much.
    """

    words: float = 1.0
    vector: float = 1.0


@dataclass(frozen=True, slots=True)
class TurnWeights:
    """How much each signal counts for a chat turn; measured on LoCoMo.

    ``*_window`` are the same signals over a turn with its two neighbours, since an answer is often the turn after
    the one that shares words with the query. ``diffusion`` is the neighbours' own share, ``session`` the share of a
    session as a whole.
    """

    words: float = 1.0
    words_window: float = 0.5
    vector: float = 0.7
    vector_window: float = 0.3
    diffusion: float = 0.2
    session: float = 0.6


def normalised(scores: Mapping[K, float]) -> dict[K, float]:
    """Return scores in [0, 1], the best of them 1; what is not positive counts as 0."""
    best = max(scores.values(), default=0.0)
    if best <= 0.0:
        return dict.fromkeys(scores, 0.0)
    return {key: max(0.0, score) / best for key, score in scores.items()}


def fuse(weighted: Iterable[tuple[float, Mapping[K, float]]]) -> dict[K, float]:
    """Return for every key of any list the weighted sum of its normalised scores; a missing one counts as 0."""
    parts: dict[K, list[float]] = {}
    for weight, scores in weighted:
        for key, score in normalised(scores).items():
            parts.setdefault(key, []).append(weight * score)
    # fsum rounds once, so that the result does not depend on the order of the lists.
    return {key: fsum(values) for key, values in parts.items()}


def ranked(scores: Mapping[int, float]) -> list[int]:
    """Return keys by falling score; equal scores by key, so that an answer does not depend on chance."""
    return sorted(scores, key=lambda key: (-scores[key], key))


def fuse_chunks(words: Mapping[int, float], vector: Mapping[int, float], weights: ChunkWeights) -> dict[int, float]:
    """Return fused scores of passages from BM25 scores (higher is better) and cosines of their best windows."""
    return fuse(((weights.words, words), (weights.vector, vector)))


@dataclass(frozen=True, slots=True)
class TurnPlace:
    """Where a turn stands: its session, and the ids of the turns before and after it there."""

    session: str
    before: int | None = None
    after: int | None = None

    @property
    def neighbours(self) -> tuple[int, ...]:
        """The ids of the turns beside it."""
        return tuple(turn for turn in (self.before, self.after) if turn is not None)


def windowed(scores: Mapping[int, float], places: Mapping[int, TurnPlace]) -> dict[int, float]:
    """Return for each placed turn the sum of positive scores over the turn and the two beside it."""
    return {
        turn: fsum(max(0.0, scores.get(other, 0.0)) for other in (turn, *place.neighbours))
        for turn, place in places.items()
    }


def fuse_turns(
    words: Mapping[int, float],
    vector: Mapping[int, float],
    places: Mapping[int, TurnPlace],
    weights: TurnWeights,
) -> dict[int, float]:
    """Return fused scores of the placed turns.

    The weighted sum over the turn and its window is spread to the neighbours, then a session whose best turns score
    high lifts all of its turns.
    """
    base = fuse(
        (
            (weights.words, {turn: words.get(turn, 0.0) for turn in places}),
            (weights.words_window, windowed(words, places)),
            (weights.vector, {turn: vector.get(turn, 0.0) for turn in places}),
            (weights.vector_window, windowed(vector, places)),
        )
    )
    spread = {
        turn: base[turn] + weights.diffusion * fsum(base.get(other, 0.0) for other in place.neighbours) / 2
        for turn, place in places.items()
    }
    prior = normalised(_sessions(spread, places))
    best = max(spread.values(), default=0.0)
    return {turn: score + weights.session * best * prior[places[turn].session] for turn, score in spread.items()}


def _sessions(scores: Mapping[int, float], places: Mapping[int, TurnPlace], best: int = 3) -> dict[str, float]:
    """Return for each session the sum of its best turns' scores."""
    grouped: dict[str, list[float]] = {}
    for turn, place in places.items():
        grouped.setdefault(place.session, []).append(scores[turn])
    return {session: fsum(sorted(values, reverse=True)[:best]) for session, values in grouped.items()}
