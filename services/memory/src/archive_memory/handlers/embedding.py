"""Vectors, asked of the embedding lane."""

import base64
import logging
import time
from collections.abc import Sequence
from typing import Any

import anyio
import numpy as np

from archive_bus import BusError, Delivery, RequestFailed
from archive_contracts.engine import Embedded, EmbedRequested
from archive_contracts.streams import ENGINE_JOBS
from archive_memory.domain.windows import QueryVector, WindowVectors

log = logging.getLogger(__name__)

QUERY_TIMEOUT_S = 3.0
TURNS_TIMEOUT_S = 10.0
TEXTS_TIMEOUT_S = 60.0
PAUSE_S = 1.0
PASSING = frozenset({408, 409, 425, 429})
"""Client errors that may be gone the next time."""


class Embedder:
    """Asks the lane of a pool."""

    def __init__(self, pool: str, *, patience_s: float) -> None:
        self._pool = pool
        self._patience_s = patience_s

    async def query(self, delivery: Delivery[Any], text: str) -> QueryVector | None:
        """Return the vector of a query, or None when no engine answers in time: words alone still find something."""
        request = EmbedRequested(texts=(text,))
        try:
            reply = await self._ask(delivery, request, timeout=QUERY_TIMEOUT_S)
        except BusError as error:
            log.warning("searching by words alone, the embedding lane %r does not answer: %s", self._pool, error)
            return None
        return QueryVector(reply.model, vectors_of(reply).values[0])

    async def turns(self, delivery: Delivery[Any], texts: Sequence[str]) -> WindowVectors:
        """Return the vectors of short texts, window by window; asks once.

        Raises:
            BusError: no engine answered in time, or one refused these texts.
        """
        request = EmbedRequested(texts=tuple(texts), windowed=True)
        return vectors_of(await self._ask(delivery, request, timeout=TURNS_TIMEOUT_S))

    async def texts(self, delivery: Delivery[Any], texts: Sequence[str]) -> WindowVectors:
        """Return the vectors of texts, window by window; waits for an engine that is away.

        Raises:
            BusError: none answered within the patience, or one refused these texts for good.
        """
        request = EmbedRequested(texts=tuple(texts), windowed=True)
        until = time.monotonic() + self._patience_s
        while True:
            try:
                return vectors_of(await self._ask(delivery, request, timeout=TEXTS_TIMEOUT_S))
            except BusError as error:
                if time.monotonic() > until or is_final(error):
                    raise
                log.warning("the embedding lane %r does not answer (%s); trying again", self._pool, error)
            await anyio.sleep(PAUSE_S)

    async def _ask(self, delivery: Delivery[Any], request: EmbedRequested, *, timeout: float) -> Embedded:
        return await delivery.request(request, Embedded, to=ENGINE_JOBS, partition=self._pool, timeout=timeout)


def is_final(error: BusError) -> bool:
    """Return whether asking again would only be refused again."""
    if not isinstance(error, RequestFailed):
        return False
    status = error.problem().status
    return 400 <= status < 500 and status not in PASSING


def vectors_of(reply: Embedded) -> WindowVectors:
    """Decode a reply: little-endian float32, shape (sum of counts, dim)."""
    flat = np.frombuffer(base64.b64decode(reply.vectors), dtype="<f4")
    return WindowVectors(reply.model, flat.reshape(-1, reply.dim).astype(np.float32), reply.counts)
