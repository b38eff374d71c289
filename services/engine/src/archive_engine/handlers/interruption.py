"""What becomes of an answer whose worker died in the middle of it."""

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum

from archive_bus import Bus, Delivery, NoSuchLog
from archive_contracts.base import Problem
from archive_contracts.chat import ChatDelta
from archive_contracts.engine import GenerateRequested, Resumption
from archive_engine.domain.answer import Answer
from archive_engine.domain.errors import UpstreamCut
from archive_engine.domain.failover import GiveUp, PassOn, Scene, after_failure
from archive_engine.domain.request import can_go_on

Kept = Callable[[str, str], Awaitable[Sequence[ChatDelta]]]
"""Returns the pieces that the log of an answer keeps, by its id and tenant."""


def kept_by(bus: Bus) -> Kept:
    """Return how to read what the logs of answers keep; of one that is gone, nothing.

    While nobody can read it the job waits: half of what its caller has would be told once more.
    """

    async def kept(log_id: str, tenant: str) -> list[ChatDelta]:
        try:
            told = await bus.log(log_id, tenant=tenant)
        except NoSuchLog:
            return []
        return [answered.message for answered in told if isinstance(answered.message, ChatDelta)]

    return kept


class LeftTo(Enum):
    """Whose the answer to a job is."""

    ANOTHER = "another"


async def taken_up(
    delivery: Delivery[GenerateRequested], kept: Kept, *, engine: str
) -> PassOn | GiveUp | LeftTo | None:
    """Put what comes now behind what the caller has; None for a job that no worker has begun.

    Of one whose worker died, return how its answer ends: written on, if its caller wants that and a log tells from
    where; else by a problem that says what was used, where a log tells that. A worker that died behind handing its job
    on leaves it twice: what the other has begun is left to it.
    """
    if await delivery.interrupted():
        return await _after_interruption(delivery, kept, engine=engine)
    if is_answered(delivery):
        return LeftTo.ANOTHER
    delivery.go_on_behind(_told_before(delivery.message))
    return None


def is_answered(delivery: Delivery[GenerateRequested]) -> bool:
    """Whether the caller has more of the answer than came before this job."""
    return delivery.told > _told_before(delivery.message)


def _told_before(job: GenerateRequested) -> int:
    return job.resumption.told if job.resumption else 0


async def _after_interruption(delivery: Delivery[GenerateRequested], kept: Kept, *, engine: str) -> PassOn | GiveUp:
    job, log_id = delivery.message, delivery.envelope.log
    pieces = await kept(log_id, delivery.envelope.tenant) if log_id else ()
    if not pieces:
        return GiveUp(INTERRUPTED)
    answer = Answer()
    for piece in pieces:
        answer.read(piece.body)
    if job.request.continuation:
        lost = UpstreamCut("The engine worker stopped.", next_step="Send the request again.", token_seen=True)
        # The log has all that was told, also what engines before this one wrote: nothing is added to what the job says.
        alone = job.model_copy(update={"resumption": None})
        begun = resumption_of(alone, answer, head=pieces[0].body, told=len(pieces))
        step = after_failure(job, lost, Scene(engine=engine, instance="", worker="", resumption=begun))
        if isinstance(step, PassOn):
            return step
    wrote = next((piece.engine for piece in pieces if piece.engine), engine)
    spent = answer.spent(engine=wrote, model=job.model, prompt_chars=job.request.prompt_chars)
    return GiveUp(INTERRUPTED.model_copy(update={"engine": wrote, "spent": spent}))


def resumption_of(job: GenerateRequested, answer: Answer, *, head: str, told: int) -> Resumption | None:
    """Return the part of an answer that its caller has, when another engine could go on from there."""
    if job.request.kind == "rerank" or not job.request.stream or not can_go_on(job.request.body):
        return None
    before = job.resumption or Resumption(text="")
    return Resumption(
        text=before.text + answer.text,
        completion_tokens=before.completion_tokens + answer.completion_tokens,
        head=before.head or head,
        told=before.told + told,
    )


INTERRUPTED = Problem(
    code="interrupted",
    message="The engine worker stopped in the middle of the answer.",
    next_step="Send the request again.",
    status=502,
)
