"""A job comes off the lane; the model's answer goes to whoever waits for it."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from archive_bus import Delivery, Retry
from archive_contracts.chat import ChatCompleted, ChatDelta
from archive_contracts.engine import GenerateRequested
from archive_contracts.streams import CHAT_EVENTS, ENGINE_JOBS
from archive_engine.domain.answer import CHARS_A_TOKEN, Answer
from archive_engine.domain.errors import EngineResting, UpstreamError
from archive_engine.domain.failover import (
    LEAST_LEFT_S,
    GiveUp,
    PassOn,
    Scene,
    TryAgain,
    after_failure,
    asked_rest_s,
    counts_against,
)
from archive_engine.domain.guard import Guard
from archive_engine.domain.headers import kept as kept_headers
from archive_engine.domain.ports import Event, Generator, Meter, Outcome
from archive_engine.domain.request import outgoing
from archive_engine.domain.rest import Rest
from archive_engine.handlers.interruption import Kept, resumption_of, taken_up

MOST_REST_S = 5.0
"""How long a job waits for the only engine that could serve it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Who calls: the engine's name for people, the server behind it, this worker; ``meter`` asks for usage."""

    name: str
    instance: str
    worker: str
    meter_streams: bool = True


@dataclass(slots=True)
class Course:
    """How far a call has come."""

    began: float
    answer: Answer = field(default_factory=Answer)
    first_token: float | None = None
    chunks: int = 0
    bad_chunks: int = 0
    told: int = 0
    head: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    called: bool = False
    settled: bool = False
    error: str = "cancelled"


class Generation:
    """Serves chats, completions and rerankings with one engine."""

    def __init__(self, generator: Generator, engine: Engine, *, guard: Guard, meter: Meter, kept: Kept) -> None:
        self._generator = generator
        self._engine = engine
        self._guard = guard
        self._meter = meter
        self._kept = kept
        self.busy = 0

    async def generate(self, delivery: Delivery[GenerateRequested]) -> None:
        """Serve one job: stream it, complete it, hand it on, or say why not."""
        job = delivery.message
        if await delivery.cancelled(job.request_id):
            return
        step = await taken_up(delivery, self._kept, engine=self._engine.name)
        if step is not None:
            if isinstance(step, PassOn):
                await self._pass_on(delivery, step.job)
            elif isinstance(step, GiveUp):
                await delivery.fail(step.problem)
            return
        course = Course(time.monotonic())
        self.busy += 1
        try:
            with delivery.wanted(job.request_id):
                await self._permitted(delivery)
                course.called = True
                await self._serve(delivery, course)
        except UpstreamError as error:
            self._judge(error, course, first=delivery.attempt == 1)
            await self._after(delivery, error, course)
        finally:
            self._settle(job, course)
            self.busy -= 1

    async def _permitted(self, delivery: Delivery[GenerateRequested]) -> None:
        """Wait for an engine that rests, where no other could serve instead."""
        job = delivery.message
        while True:
            try:
                self._guard.enter(time.monotonic(), tokens=job.request.prompt_chars // CHARS_A_TOKEN)
            except EngineResting as resting:
                left = _left_s(delivery)
                most = MOST_REST_S if left is None else min(MOST_REST_S, left - LEAST_LEFT_S)
                if job.fallbacks or resting.rest_s > most:
                    raise
                await asyncio.sleep(resting.rest_s)
            else:
                return

    async def _serve(self, delivery: Delivery[GenerateRequested], course: Course) -> None:
        job = delivery.message
        request, rest = job.request, Rest(job.resumption) if job.resumption else None
        sent = outgoing(job, meter=self._engine.meter_streams)
        whole: str | None = None
        async with self._generator.call(request.kind, sent.body, stream=request.stream) as reply:
            course.headers = kept_headers(reply.headers.items())
            try:
                async for event in reply:
                    _note(course, event)
                    if not request.stream:
                        whole = event.data
                    elif not (sent.hides_usage and _only_usage(event)):
                        body = rest.rewritten(event.parsed) if rest else event.data
                        _ = delivery.emit(ChatDelta(body=body) if course.told or rest else self._first(course, body))
                        course.told += 1
                        course.head = course.head or event.data
            finally:
                course.bad_chunks = reply.bad_chunks
        completed = self._completed(job, course, whole)
        self._guard.succeeded(service_s=completed.upstream_ms / 1000, ttft_s=_ttft_s(course))
        course.settled, course.error = True, ""
        await delivery.reply(completed)
        if request.store and request.user_turn:
            await delivery.publish(completed.model_copy(update={"body": None, "headers": ()}), to=CHAT_EVENTS)

    def _first(self, course: Course, body: str) -> ChatDelta:
        """Return the first piece of an answer, which tells who answers and how long that took."""
        spent_ms = (time.monotonic() - course.began) * 1000
        return ChatDelta(body=body, engine=self._engine.name, headers=course.headers, upstream_ms=spent_ms)

    def _completed(self, job: GenerateRequested, course: Course, whole: str | None) -> ChatCompleted:
        answer, ttft = course.answer, _ttft_s(course)
        before = job.resumption
        return ChatCompleted(
            engine=self._engine.name,
            pool=job.pool,
            model=answer.model or job.model,
            text=before.text + answer.text if before else answer.text,
            finish_reason=answer.finish_reason,
            usage=Rest(before).usage(answer.usage) if before else answer.usage,
            body=whole,
            user_turn=job.request.user_turn,
            session=job.request.session,
            upstream_ms=(time.monotonic() - course.began) * 1000,
            ttft_ms=None if ttft is None else ttft * 1000,
            attempts=job.calls + 1,
            headers=() if job.request.stream else course.headers,
        )

    def _judge(self, error: UpstreamError, course: Course, *, first: bool) -> None:
        """Let the guard learn from a failure; a call that was never made says nothing."""
        if course.called and counts_against(error, first=first):
            self._guard.failed(time.monotonic(), rest_s=asked_rest_s(error))
            course.settled = True
        course.error = error.code

    def _settle(self, job: GenerateRequested, course: Course) -> None:
        if not course.called:
            return
        if not course.settled:
            self._guard.leave()
        answer, now = course.answer, time.monotonic()
        spent = answer.spent(engine=self._engine.name, model=job.model, prompt_chars=job.request.prompt_chars)
        written = spent.completion_tokens
        self._guard.spend(now, tokens=spent.prompt_tokens + written, written=written)
        self._meter(
            Outcome(
                operation=job.request.kind,
                requested=job.model,
                answered=answer.model or job.model,
                duration_s=now - course.began,
                first_chunk_s=_ttft_s(course),
                chunks=course.chunks,
                prompt_tokens=spent.prompt_tokens,
                completion_tokens=spent.completion_tokens,
                bad_chunks=course.bad_chunks,
                error=course.error,
            )
        )

    async def _after(self, delivery: Delivery[GenerateRequested], error: UpstreamError, course: Course) -> None:
        job = delivery.message
        spent = course.answer.spent(engine=self._engine.name, model=job.model, prompt_chars=job.request.prompt_chars)
        scene = Scene(
            engine=self._engine.name,
            instance=self._engine.instance,
            worker=self._engine.worker,
            attempt=delivery.attempt,
            retry=delivery.attempt < ENGINE_JOBS.attempts and self._guard.budget.allows,
            left_s=_left_s(delivery),
            chance=random.random(),  # noqa: S311 - spreads load, hides nothing
            resumption=resumption_of(job, course.answer, head=course.head, told=course.told)
            if error.token_seen
            else None,
            spent=Rest(job.resumption).spent(spent) if job.resumption else spent,
        )
        match after_failure(job, error, scene):
            case PassOn(passed):
                await self._pass_on(delivery, passed)
            case TryAgain(delay_s):
                self._guard.budget.retried()
                raise Retry(str(error), delay_s=delay_s) from error
            case GiveUp(problem):
                spent_ms = (time.monotonic() - course.began) * 1000
                await delivery.fail(problem.model_copy(update={"upstream_ms": spent_ms}))

    async def _pass_on(self, delivery: Delivery[GenerateRequested], job: GenerateRequested) -> None:
        await delivery.publish(job, to=ENGINE_JOBS, partition=lane_of(job), reply=True)


def lane_of(job: GenerateRequested) -> str:
    """Return the partition a job belongs on: its pool's for its priority, or one worker's."""
    return f"{job.pool}:{job.worker}" if job.worker else ENGINE_JOBS.lane(job.pool, job.request.priority)


def _note(course: Course, event: Event) -> None:
    course.answer.add(event.parsed)
    course.chunks += 1
    if event.token and course.first_token is None:
        course.first_token = time.monotonic()


def _ttft_s(course: Course) -> float | None:
    return None if course.first_token is None else course.first_token - course.began


def _only_usage(event: Event) -> bool:
    return event.parsed.get("choices") == [] and "usage" in event.parsed


def _left_s(delivery: Delivery[GenerateRequested]) -> float | None:
    return delivery.envelope.deadline / 1000 - time.time() if delivery.envelope.deadline else None
