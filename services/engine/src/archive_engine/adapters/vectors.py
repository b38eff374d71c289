"""Vectors as they travel."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from archive_engine.domain.errors import BadDimensions
from archive_engine.domain.ports import Vectors


def packed(
    model: str, matrix: npt.NDArray[np.float32], counts: Sequence[int], tokens: int, dimensions: int | None
) -> Vectors:
    """Return the rows of a matrix as little-endian float32, cut to ``dimensions`` and scaled to length 1 again.

    Raises:
        BadDimensions: the rows are shorter than that.
    """
    if dimensions and dimensions > matrix.shape[1]:
        raise BadDimensions(
            f"The model {model!r} makes vectors of {matrix.shape[1]} numbers, not of {dimensions}.",
            next_step="Ask for fewer dimensions, or leave them out.",
        )
    if dimensions and dimensions < matrix.shape[1]:
        matrix = matrix[:, :dimensions]
        matrix = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    return Vectors(model, matrix.shape[1], np.ascontiguousarray(matrix, dtype="<f4").tobytes(), tuple(counts), tokens)
