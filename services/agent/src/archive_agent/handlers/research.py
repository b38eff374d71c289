"""Research: find evidence, ask a model to answer from it, and say what the answer rests on."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from archive_agent.domain.budget import estimated_tokens, research_budget
from archive_agent.domain.citations import CitationStream
from archive_agent.domain.consulted import as_source, from_chunk, from_memories, in_turn
from archive_agent.domain.errors import CANCELLED, AgentError
from archive_agent.domain.evidence import Candidate
from archive_agent.domain.following import searches, subject
from archive_agent.domain.research import ResearchPrompt, build_prompt
from archive_agent.domain.support import NO_SUPPORT_ANSWER, is_supported
from archive_agent.domain.surroundings import Contexts
from archive_agent.domain.usage import Tally
from archive_agent.handlers.asking import Question, begun, streamed
from archive_agent.handlers.interruption import INTERRUPTED, Kept, interrupted
from archive_bus import BusError, Delivery
from archive_contracts.agents import AnswerDelta, ResearchCompleted, RunFinished, RunResearch, RunStarted, SourceFound
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted
from archive_contracts.memory import ChunksFound, MemoriesFound, RecallMemories, SearchChunks
from archive_contracts.streams import MEMORY_QUERIES, RUNS_JOURNAL

SEARCH_TIMEOUT_S = 20.0
REPETITION = 0.5
"""Frequency penalty: small models otherwise fill their tokens with one sentence."""


@dataclass(frozen=True, slots=True)
class Found:
    """What library and memory hold on a question; ``documents`` counts what the library has at all."""

    library: tuple[Candidate, ...]
    memories: tuple[Candidate, ...]
    documents: int

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All, documents first."""
        return self.library + self.memories


class Research:
    """Answers questions from evidence."""

    def __init__(self, contexts: Contexts, kept: Kept) -> None:
        self._contexts = contexts
        self._kept = kept

    async def answer(self, delivery: Delivery[RunResearch]) -> None:
        """Answer one question; the caller gets sources, then text as it is written, then the whole."""
        command, tally = delivery.message, Tally()
        started = RunStarted(run_id=command.run_id, kind="research", question=command.question, model=command.model)
        await delivery.append(started, to=RUNS_JOURNAL, entity=command.run_id)
        if await delivery.interrupted():
            # Also of one that was cancelled: what it had used is known here alone.
            ended = await interrupted(delivery, self._kept, self._contexts)
            await delivery.fail(ended.error or INTERRUPTED)
            await self._end(delivery, ended)
            return
        with delivery.cancellable(delivery.envelope.id, command.run_id):
            if not (await delivery.cancelled(command.run_id) or await delivery.cancelled()):
                completed = await self._outcome(delivery, tally)
                await delivery.reply(completed)
                await self._end(delivery, completed)
                return
        completed = _failed(command, CANCELLED).model_copy(update={"used": tally.used()})
        await delivery.reply(completed)
        await self._end(delivery, completed)

    async def _outcome(self, delivery: Delivery[RunResearch], tally: Tally) -> ResearchCompleted:
        command = delivery.message
        try:
            completed = await self._research(delivery, tally)
        except BusError as error:
            completed = _failed(command, error.problem())
        except AgentError as error:
            problem = Problem(code=error.code, message=error.message, next_step=error.next_step, status=400)
            completed = _failed(command, problem)
        return completed.model_copy(update={"used": tally.used()})

    async def _end(self, delivery: Delivery[RunResearch], completed: ResearchCompleted) -> None:
        finished = RunFinished(
            run_id=completed.run_id,
            answer=completed.answer,
            success=completed.success,
            sources=completed.sources,
            error=completed.error,
            used=completed.used,
        )
        place = f"{completed.run_id}/finished"
        await delivery.append(finished, to=RUNS_JOURNAL, entity=completed.run_id, id=place)

    async def _research(self, delivery: Delivery[RunResearch], tally: Tally) -> ResearchCompleted:
        command = delivery.message
        found = await self._find(delivery)
        if not found.candidates and command.use_library and not found.documents:
            return _failed(command, _NO_DOCUMENTS)
        budget = research_budget(self._contexts.smallest(time.monotonic(), model=command.model))
        prompt = build_prompt(
            command.question, found.candidates, budget=budget, count_tokens=estimated_tokens, turns=command.turns
        )
        if command.stream:
            for evidence in prompt.sources:
                _ = delivery.emit(SourceFound(source=as_source(evidence)))
        if not is_supported(subject(command.question, command.turns), found.candidates):
            if command.stream:
                _ = delivery.emit(AnswerDelta(text=NO_SUPPORT_ANSWER))
            return _completed(command, found, prompt, NO_SUPPORT_ANSWER)
        try:
            return await self._ask(delivery, found, prompt, max_tokens=budget.answer, tally=tally)
        except BusError as error:
            # What was found is worth reading without an answer too.
            sources = _completed(command, found, prompt, "")
            return sources.model_copy(update={"success": False, "error": error.problem()})

    async def _find(self, delivery: Delivery[RunResearch]) -> Found:
        command = delivery.message
        library, documents, memories = (), 0, ()
        if command.use_library:
            library, documents = await self._search(delivery)
        if command.use_memory:
            recall = RecallMemories(query=command.question, top_k=command.top_k)
            turns = await delivery.request(recall, MemoriesFound, to=MEMORY_QUERIES, timeout=SEARCH_TIMEOUT_S)
            memories = tuple(from_memories(turns.items, question=command.question))
        return Found(library, memories, documents)

    async def _search(self, delivery: Delivery[RunResearch]) -> tuple[tuple[Candidate, ...], int]:
        """Return the passages that the library holds on the question, and of how many documents in all."""
        command = delivery.message

        def searched(query: str) -> Awaitable[ChunksFound]:
            search = SearchChunks(query=query, top_k=command.top_k, document_ids=command.document_ids)
            return delivery.request(search, ChunksFound, to=MEMORY_QUERIES, timeout=SEARCH_TIMEOUT_S)

        found = await asyncio.gather(*map(searched, searches(command.question, command.turns)))
        hits = in_turn([each.hits for each in found], limit=command.top_k)
        return tuple(from_chunk(hit) for hit in hits), found[0].documents

    async def _ask(
        self, delivery: Delivery[RunResearch], found: Found, prompt: ResearchPrompt, *, max_tokens: int, tally: Tally
    ) -> ResearchCompleted:
        command = delivery.message
        shown = {evidence.number: evidence.excerpt for evidence in prompt.sources if evidence.excerpt}
        citing = CitationStream(shown, question=subject(command.question, command.turns))
        question = Question(
            messages=prompt.messages,
            model=command.model,
            max_tokens=max_tokens,
            extra={"frequency_penalty": REPETITION},
        )
        engine = ""
        async with aclosing(streamed(delivery, question, begun(tally, question))) as pieces:
            async for piece in pieces:
                if isinstance(piece, ChatCompleted):
                    engine = f"{piece.engine}/{piece.model}"
                    self._pass_on(delivery, citing.close())
                else:
                    self._pass_on(delivery, citing.feed(piece))
        cited = citing.report().cited
        return _completed(command, found, prompt, citing.text, cited=cited, engine=engine)

    def _pass_on(self, delivery: Delivery[RunResearch], text: str) -> None:
        if text and delivery.message.stream:
            _ = delivery.emit(AnswerDelta(text=text))


def _completed(
    command: RunResearch,
    found: Found,
    prompt: ResearchPrompt,
    answer: str,
    *,
    cited: Sequence[int] | frozenset[int] = (),
    engine: str = "",
) -> ResearchCompleted:
    sources = tuple(as_source(evidence, cited=frozenset(cited)) for evidence in prompt.sources)
    return ResearchCompleted(
        run_id=command.run_id,
        question=command.question,
        answer=answer,
        sources=sources,
        library_chunks_consulted=len(found.library),
        memories_consulted=len(found.memories),
        engine=engine,
    )


def _failed(command: RunResearch, problem: Problem) -> ResearchCompleted:
    return ResearchCompleted(run_id=command.run_id, question=command.question, answer="", success=False, error=problem)


_NO_DOCUMENTS = Problem(
    code="no_documents",
    message="There are no documents to answer from.",
    next_step="Add some with 'archive ingest FILE...' or POST /v1/documents, then ask again.",
    status=409,
)
