"""Cut a long run of tokens into windows an encoder can read."""

from __future__ import annotations

from itertools import pairwise


def windows(count: int, *, size: int, overlap: int) -> list[tuple[int, int]]:
    """Cover `count` tokens with half-open windows `(start, stop)` of at most `size`, neighbours sharing `overlap`.

    The fewest windows that can do it, of equal length give or take one token: a last window of three tokens would
    make a vector about nothing. No tokens give one empty window, so that every text has a vector.

    Raises:
        ValueError: the overlap leaves a window no room to move forward.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"overlap must be in 0..{size - 1}, got {overlap}")
    if count <= size:
        return [(0, count)]
    pieces = -(-(count - overlap) // (size - overlap))
    stride = (count - overlap) / pieces
    starts = [round(index * stride) for index in range(pieces + 1)]
    return [(begin, end + overlap) for begin, end in pairwise(starts)]
