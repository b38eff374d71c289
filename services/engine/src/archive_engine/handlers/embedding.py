"""Texts come off the lane, vectors go to whoever asked."""

import base64
import time

from archive_bus import Delivery, Retry
from archive_contracts.base import Problem
from archive_contracts.engine import Embedded, EmbedRequested
from archive_contracts.streams import ENGINE_JOBS
from archive_engine.domain.errors import BadDimensions, BadTokens, EngineError, UpstreamError
from archive_engine.domain.failover import is_final, problem_of
from archive_engine.domain.ports import Embedder, Vectors

PAUSE_S = 0.5


class Embedding:
    """Turns texts into vectors with one engine."""

    def __init__(self, embedder: Embedder, *, engine: str) -> None:
        self._embedder = embedder
        self._engine = engine
        self.busy = 0

    async def embed(self, delivery: Delivery[EmbedRequested]) -> None:
        """Answer with the vectors of the texts, unless nobody waits for them any more."""
        # A router sends the job on in the name of the request, which is what its client cancels.
        targets = (delivery.envelope.id, delivery.envelope.causation)
        self.busy += 1
        try:
            with delivery.wanted(*(target for target in targets if target)):
                await self._answer(delivery)
        except BadTokens as error:
            await delivery.fail(_problem(error, status=400, param="input"))
        except BadDimensions as error:
            await delivery.fail(_problem(error, status=400, param="dimensions"))
        except UpstreamError as error:
            if not is_final(error) and delivery.attempt < ENGINE_JOBS.attempts:
                raise Retry(str(error), delay_s=PAUSE_S) from error
            await delivery.fail(problem_of(error, self._engine))
        except EngineError as error:
            await delivery.fail(_problem(error, status=503))
        finally:
            self.busy -= 1

    async def _answer(self, delivery: Delivery[EmbedRequested]) -> None:
        began = time.monotonic()
        vectors = await self._embedder.embed(delivery.message)
        await delivery.reply(self._embedded(vectors, upstream_ms=(time.monotonic() - began) * 1000))

    def _embedded(self, vectors: Vectors, *, upstream_ms: float) -> Embedded:
        return Embedded(
            model=vectors.model,
            dim=vectors.dim,
            vectors=base64.b64encode(vectors.data).decode(),
            counts=vectors.counts,
            tokens=vectors.tokens,
            engine=self._engine,
            upstream_ms=upstream_ms,
            headers=vectors.headers,
        )


def _problem(error: EngineError, *, status: int, param: str | None = None) -> Problem:
    return Problem(code=error.code, message=error.message, next_step=error.next_step, status=status, param=param)
