"""Texts come off the lane, vectors go to whoever asked."""

import base64

from archive_bus import Delivery, Retry
from archive_contracts.base import Problem
from archive_contracts.engine import Embedded, EmbedRequested
from archive_contracts.streams import ENGINE_JOBS
from archive_engine.domain.errors import BadTokens, EngineError
from archive_engine.domain.ports import Embedder


class Embedding:
    """Turns texts into vectors with one engine."""

    def __init__(self, embedder: Embedder, *, engine: str) -> None:
        self._embedder = embedder
        self._engine = engine
        self.busy = 0

    async def embed(self, delivery: Delivery[EmbedRequested]) -> None:
        """Answer with the vectors of the texts."""
        self.busy += 1
        try:
            vectors = await self._embedder.embed(delivery.message)
        except BadTokens as error:
            await delivery.fail(_problem(error, status=400, param="input"))
            return
        except EngineError as error:
            if delivery.attempt < ENGINE_JOBS.attempts:
                raise Retry(str(error), delay_s=0.5) from error
            await delivery.fail(_problem(error, status=503))
            return
        finally:
            self.busy -= 1
        await delivery.reply(
            Embedded(
                model=vectors.model,
                dim=vectors.dim,
                vectors=base64.b64encode(vectors.data).decode(),
                counts=vectors.counts,
                tokens=vectors.tokens,
                engine=self._engine,
            )
        )


def _problem(error: EngineError, *, status: int, param: str | None = None) -> Problem:
    return Problem(code=error.code, message=error.message, next_step=error.next_step, status=status, param=param)
