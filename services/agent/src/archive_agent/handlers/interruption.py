"""What becomes of research whose agent died in the middle of the answer."""

import time
from collections.abc import Awaitable, Callable, Sequence

from archive_agent.domain.budget import estimated_tokens, research_budget
from archive_agent.domain.consulted import as_candidate
from archive_agent.domain.errors import AgentError
from archive_agent.domain.research import build_prompt
from archive_agent.domain.support import NO_SUPPORT_ANSWER
from archive_agent.domain.surroundings import Contexts
from archive_agent.domain.usage import as_spent, told_use
from archive_bus import Bus, Delivery, NoSuchLog
from archive_contracts.agents import AnswerDelta, ResearchCompleted, RunResearch, SourceFound
from archive_contracts.base import Message, Problem

Kept = Callable[[str, str], Awaitable[Sequence[Message]]]
"""Returns what the log of an answer keeps, by its id and tenant."""


def kept_by(bus: Bus) -> Kept:
    """Return how to read what the logs of answers keep; of one that is gone, nothing."""

    async def kept(log_id: str, tenant: str) -> list[Message]:
        try:
            return [answered.message for answered in await bus.log(log_id, tenant=tenant)]
        except NoSuchLog:
            return []

    return kept


async def interrupted(delivery: Delivery[RunResearch], kept: Kept, contexts: Contexts) -> ResearchCompleted:
    """Return the end of an interrupted answer, with what it had used, as far as its log tells."""
    command, envelope = delivery.message, delivery.envelope
    told = await kept(envelope.log, envelope.tenant) if envelope.log else ()
    text = "".join(each.text for each in told if isinstance(each, AnswerDelta))
    problem, used = INTERRUPTED, ()
    if text and text != NO_SUPPORT_ANSWER:
        sources = [each for each in told if isinstance(each, SourceFound)]
        use = told_use(command.model or "auto", text, prompt_chars=_prompt_chars(command, sources, contexts))
        problem, used = INTERRUPTED.model_copy(update={"spent": as_spent(use)}), (use,)
    return ResearchCompleted(
        run_id=command.run_id, question=command.question, answer="", success=False, error=problem, used=used
    )


def _prompt_chars(command: RunResearch, sources: Sequence[SourceFound], contexts: Contexts) -> int:
    """Return how long the prompt was: it is built once more from the sources that were told."""
    budget = research_budget(contexts.smallest(time.monotonic(), model=command.model))
    candidates = [as_candidate(found.source) for found in sources]
    try:
        prompt = build_prompt(
            command.question, candidates, budget=budget, count_tokens=estimated_tokens, turns=command.turns
        )
    except AgentError:
        # The engines of then took longer questions than those of now.
        return len(command.question)
    return sum(len(message.content) for message in prompt.messages)


INTERRUPTED = Problem(
    code="interrupted",
    message="The agent stopped in the middle of the answer.",
    next_step="Ask again.",
    status=502,
)
