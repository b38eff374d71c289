"""Texts come off the lane, vectors go to whoever asked."""

import base64
import time
from dataclasses import dataclass

from archive_bus import Delivery, Retry
from archive_contracts.base import Problem
from archive_contracts.engine import Embedded, EmbedRequested
from archive_contracts.streams import ENGINE_JOBS
from archive_engine.domain.errors import BadDimensions, BadTokens, EngineError, UpstreamError
from archive_engine.domain.failover import is_final, problem_of
from archive_engine.domain.ports import Embedder, Meter, Outcome, Vectors

PAUSE_S = 0.5


@dataclass(slots=True)
class _Call:
    """One call of the model; its error until it has ended is that nobody waits for it any more."""

    began: float
    vectors: Vectors | None = None
    error: str = "cancelled"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


class Embedding:
    """Turns texts into vectors with one engine."""

    def __init__(self, embedder: Embedder, *, engine: str, meter: Meter) -> None:
        self._embedder = embedder
        self._engine = engine
        self._meter = meter
        self.busy = 0

    async def embed(self, delivery: Delivery[EmbedRequested]) -> None:
        """Answer with the vectors of the texts, unless nobody waits for them any more."""
        # A router sends the job on in the name of the request, which is what its client cancels.
        targets = (delivery.envelope.id, delivery.envelope.causation)
        call = _Call(time.monotonic())
        self.busy += 1
        try:
            with delivery.wanted(*(target for target in targets if target)):
                await self._answer(delivery, call)
        except EngineError as error:
            call.error = error.code
            await self._fail(delivery, error)
        finally:
            self.busy -= 1
            self._measure(delivery.message, call)

    async def _answer(self, delivery: Delivery[EmbedRequested], call: _Call) -> None:
        vectors = await self._embedder.embed(delivery.message)
        spent, call.vectors, call.error = call.seconds, vectors, ""
        await delivery.reply(self._embedded(vectors, upstream_ms=spent * 1000))

    async def _fail(self, delivery: Delivery[EmbedRequested], error: EngineError) -> None:
        """Say why there are no vectors. Raises Retry where another try may help."""
        if isinstance(error, UpstreamError):
            if not is_final(error) and delivery.attempt < ENGINE_JOBS.attempts:
                raise Retry(str(error), delay_s=PAUSE_S) from error
            await delivery.fail(problem_of(error, self._engine))
            return
        param = "input" if isinstance(error, BadTokens) else "dimensions" if isinstance(error, BadDimensions) else None
        await delivery.fail(_problem(error, status=400 if param else 503, param=param))

    def _measure(self, asked: EmbedRequested, call: _Call) -> None:
        vectors = call.vectors
        self._meter(
            Outcome(
                operation="embedding",
                requested=asked.model,
                answered=vectors.model if vectors else asked.model,
                duration_s=call.seconds,
                prompt_tokens=vectors.tokens if vectors else 0,
                error=call.error,
            )
        )

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
