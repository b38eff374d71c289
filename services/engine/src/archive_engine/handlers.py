"""A job comes off the lane; the model's answer goes to whoever waits for it."""

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from archive_bus import Delivery, Retry
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted, ChatDelta
from archive_contracts.engine import Embedded, EmbedRequested, GenerateRequested
from archive_contracts.streams import CHAT_EVENTS, ENGINE_JOBS
from archive_engine.domain.answer import Answer
from archive_engine.domain.errors import EngineError, UpstreamError
from archive_engine.domain.failover import GiveUp, PassOn, TryAgain, after_failure
from archive_engine.domain.ports import Embedder, Event, Generator


class Generation:
    """Serves chats and completions with one engine."""

    def __init__(self, generator: Generator, *, engine: str) -> None:
        self._generator = generator
        self._engine = engine
        self.busy = 0

    async def generate(self, delivery: Delivery[GenerateRequested]) -> None:
        """Serve one job: stream it, complete it, hand it on, or say why not."""
        job = delivery.message
        if await delivery.cancelled(job.request_id):
            return
        if await delivery.interrupted():
            await delivery.fail(_INTERRUPTED)
            return
        self.busy += 1
        try:
            with delivery.cancellable(job.request_id), delivery.while_heard():
                await self._serve(delivery)
        except UpstreamError as error:
            await self._after(delivery, error)
        finally:
            self.busy -= 1

    async def _serve(self, delivery: Delivery[GenerateRequested]) -> None:
        request = delivery.message.request
        answer = Answer()
        began = time.monotonic()
        first_token: float | None = None
        whole: str | None = None
        named = self._engine
        async with self._call(delivery.message) as reply:
            async for event in reply:
                answer.add(event.parsed)
                if event.token and first_token is None:
                    first_token = time.monotonic()
                if not request.stream:
                    whole = event.data
                    continue
                _ = delivery.emit(ChatDelta(body=event.data, engine=named))
                named = ""
        completed = ChatCompleted(
            engine=self._engine,
            pool=delivery.message.pool,
            model=answer.model or delivery.message.model,
            text=answer.text,
            finish_reason=answer.finish_reason,
            usage=answer.usage,
            body=whole,
            user_turn=request.user_turn,
            session=request.session,
            upstream_ms=(time.monotonic() - began) * 1000,
            ttft_ms=None if first_token is None else (first_token - began) * 1000,
        )
        await delivery.reply(completed)
        if request.store and request.user_turn:
            await delivery.publish(completed.model_copy(update={"body": None}), to=CHAT_EVENTS)

    def _call(self, job: GenerateRequested) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        body = job.request.body if job.model == job.request.model else _renamed(job.request.body, job.model)
        call = self._generator.chat if job.request.kind == "chat" else self._generator.completions
        return call(body, stream=job.request.stream)

    async def _after(self, delivery: Delivery[GenerateRequested], error: UpstreamError) -> None:
        step = after_failure(
            delivery.message,
            error,
            engine=self._engine,
            attempt=delivery.attempt,
            attempts=ENGINE_JOBS.attempts,
        )
        match step:
            case PassOn(job):
                lane = ENGINE_JOBS.lane(job.pool, job.request.priority)
                await delivery.publish(job, to=ENGINE_JOBS, partition=lane, reply=True)
            case TryAgain(delay_s):
                raise Retry(str(error), delay_s=delay_s) from error
            case GiveUp(problem):
                await delivery.fail(problem)


class Embedding:
    """Turns texts into vectors with one engine."""

    def __init__(self, embedder: Embedder, *, engine: str) -> None:
        self._embedder = embedder
        self._engine = engine
        self.busy = 0

    async def embed(self, delivery: Delivery[EmbedRequested]) -> None:
        """Answer with the vectors of the texts."""
        request = delivery.message
        self.busy += 1
        try:
            vectors = await self._embedder.embed(
                request.texts, windowed=request.windowed, dimensions=request.dimensions
            )
        except EngineError as error:
            if delivery.attempt < ENGINE_JOBS.attempts:
                raise Retry(str(error), delay_s=0.5) from error
            await delivery.fail(Problem(code=error.code, message=error.message, next_step=error.next_step, status=503))
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


def _renamed(body: str, model: str) -> str:
    """Return the body with the model the engine knows: the client left the choice open, or used another name."""
    fields = json.loads(body)
    fields["model"] = model
    return json.dumps(fields, ensure_ascii=False)


_INTERRUPTED = Problem(
    code="interrupted",
    message="The engine worker stopped in the middle of the answer.",
    next_step="Send the request again.",
    status=502,
)
