"""Jobs on a lane that nobody reads any more go where they can be served, or their callers are told."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from archive_bus import Delivery, Handler
from archive_contracts.base import Message, Problem
from archive_contracts.engine import EmbedRequested, GenerateRequested, Target
from archive_contracts.streams import ENGINE_JOBS
from archive_engine.domain.failover import GiveUp
from archive_engine.handlers.interruption import Kept, LeftTo, taken_up

Living = Callable[[], Collection[str]]
"""Returns the pools that have a living worker."""


class Relay:
    """Serves nothing itself: every job leaves for another lane, or ends with a reason."""

    def __init__(self, *, engine: str, living: Living, kept: Kept) -> None:
        self._engine = engine
        self._living = living
        self._kept = kept

    @property
    def handlers(self) -> Mapping[type[Message], Handler[Any]]:
        """Return what is to be done with each kind of job."""
        return {GenerateRequested: self.generate, EmbedRequested: self.embed}

    async def generate(self, delivery: Delivery[GenerateRequested]) -> None:
        """Send a job on to the first of its fallbacks that lives."""
        job = delivery.message
        if await delivery.cancelled(job.request_id):
            return
        step = await taken_up(delivery, self._kept, engine=self._engine)
        if isinstance(step, LeftTo):
            return
        if isinstance(step, GiveUp):
            await delivery.fail(step.problem)
            return
        if step:
            job = step.job
            delivery.go_on_behind(job.resumption.told if job.resumption else 0)
        sent = sent_on(job, self._living())
        if sent is None:
            await delivery.fail(_GONE)
        else:
            lane = ENGINE_JOBS.lane(sent.pool, sent.request.priority)
            await delivery.publish(sent, to=ENGINE_JOBS, partition=lane, reply=True)

    async def embed(self, delivery: Delivery[EmbedRequested]) -> None:
        """Say that nobody embeds: another model's vectors would mean nothing to the caller."""
        await delivery.fail(_GONE)


def sent_on(job: GenerateRequested, living: Collection[str]) -> GenerateRequested | None:
    """Return the job for its own pool, if that lives again, else for the first fallback that does; None without one."""
    own = Target(pool=job.pool, model=job.model)
    targets = (own, *job.fallbacks)
    for index, target in enumerate(targets):
        if target.pool in living:
            return job.model_copy(
                update={
                    "pool": target.pool,
                    "model": target.model,
                    "worker": "",
                    "directed_until": 0,
                    "fallbacks": targets[index + 1 :],
                }
            )
    return None


_GONE = Problem(
    code="no_engine",
    message="The engines that were to serve the request are gone.",
    next_step="See 'archive engines list' and the log of the engine; the request may be sent again at once.",
    status=503,
    retry_after_s=2.0,
)
