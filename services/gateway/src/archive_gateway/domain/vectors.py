"""Embeddings on their way to a client: base64 of little-endian float32, or lists of floats."""

import base64
import struct
from collections.abc import Iterator

from archive_contracts.engine import Embedded


class VectorError(ValueError):
    """An engine's vectors do not have the shape it claims."""


def rows(found: Embedded, *, texts: int) -> list[bytes]:
    """Return one vector for each text as little-endian float32, ``4 * dim`` bytes each.

    Raises:
        VectorError: other than one vector for each text came back.
    """
    raw = base64.b64decode(found.vectors)
    width = 4 * found.dim
    if width <= 0 or len(raw) != width * texts:
        raise VectorError(f"{len(raw)} bytes came back for {texts} vectors of {found.dim} dimensions")
    return [raw[start : start + width] for start in range(0, len(raw), width)]


def as_base64(row: bytes) -> str:
    """Return a vector as OpenAI's clients ask for it by default."""
    return base64.b64encode(row).decode()


def as_floats(row: bytes) -> list[float]:
    """Return a vector as numbers."""
    return list(struct.unpack(f"<{len(row) // 4}f", row))


def each(vectors: list[bytes], *, encoding: str) -> Iterator[str | list[float]]:
    """Yield the vectors in the encoding that was asked for."""
    for row in vectors:
        yield as_base64(row) if encoding == "base64" else as_floats(row)
