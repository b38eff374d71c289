"""Answers that are asked for over the bus, watched by pages and kept when they end."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import anyio

from archive_bus import Bus, BusError, BusUnavailable, NoSuchLog, Origin
from archive_console.domain.answers import STOPPED, Answer
from archive_console.domain.conversations import Turn, context, earlier
from archive_console.domain.ports import Change, Conversations
from archive_contracts.agents import RunAgent, RunResearch
from archive_contracts.base import Message, Problem
from archive_contracts.chat import ChatRequested
from archive_contracts.conversations import ConversationSaved, RecordAnswer, RecordQuestion
from archive_contracts.streams import AGENT_COMMANDS, CHAT_REQUESTS, CONVERSATION_COMMANDS, RUNS_JOURNAL, Stream
from archive_telemetry import get_logger

log = get_logger(__name__)

SAVE_S = 5.0
ANSWER_TOKENS = 1024
PAUSE_S = 1.0

LOST = Problem(
    code="answer_lost",
    message="The answer was interrupted, and what had come of it is gone.",
    next_step="Ask again with 'Retry'.",
)
CANCELLED = Problem(code=STOPPED, message="The answer was stopped.", next_step="Ask again with 'Retry'.")


class Answering:
    """Asks on behalf of people who may close the page, and keeps what comes.

    Every answer goes through its log on the state server: pages and the keeper read it alike, and a console that was
    killed reads on after its restart.
    """

    def __init__(self, bus: Bus, conversations: Conversations, *, timeout_s: float) -> None:
        self._bus = bus
        self._conversations = conversations
        self._timeout_s = timeout_s
        self._tasks: asyncio.TaskGroup | None = None

    async def resume(self, tasks: asyncio.TaskGroup) -> None:
        """Work in this group from now on, and go on with what an earlier process left."""
        self._tasks = tasks
        for tenant, conversation, turn in await self._conversations.running():
            tasks.create_task(self._guarded(tenant, conversation, turn))

    async def save(self, tenant: str, change: Change) -> None:
        """Make a change durable. Raises BusError."""
        origin = Origin(tenant=tenant)
        await self._bus.request(change, ConversationSaved, to=CONVERSATION_COMMANDS, origin=origin, timeout=SAVE_S)

    async def ask(
        self, tenant: str, conversation: str, turn: Turn, *, before: Sequence[Turn], supersedes: str = ""
    ) -> None:
        """Keep a question and send it on its way. Raises BusError when it could not be kept."""
        question = RecordQuestion(
            conversation_id=conversation,
            turn_id=turn.id,
            mode=turn.mode,
            text=turn.question,
            model=turn.model,
            document_ids=turn.document_ids,
            remember=turn.remember,
            supersedes=supersedes,
            asked_at=turn.asked_at,
        )
        await self.save(tenant, question)
        if self._tasks is None:
            raise RuntimeError("answering has no task group yet")
        sent = asyncio.Event()
        self._tasks.create_task(self._answer(tenant, conversation, turn, before, sent))
        await sent.wait()

    async def stop(self, tenant: str, turn_id: str) -> None:
        """Ask whoever works on an answer to stop. Raises BusError."""
        await self._bus.cancel(turn_id, reason="stopped by its reader", origin=Origin(tenant=tenant))

    async def watch(self, tenant: str, turn: Turn) -> AsyncIterator[Answer]:
        """Yield an answer as it grows, to its end. Raises NoSuchLog when it is kept no longer."""
        answer = Answer()
        async for answered in self._bus.follow_log(turn.id, tenant=tenant):
            if answered is not None:
                answer = answer.after(answered.message)
            else:
                answer = await self._meanwhile(turn, answer)
            yield answer
            if answer.ended:
                return

    async def _meanwhile(self, turn: Turn, answer: Answer) -> Answer:
        """Return what is known beside the log while that is silent.

        An engine that was stopped says nothing more; the steps of a run stand in its journal, not in its answer.
        """
        try:
            if await self._bus.cancelled(turn.id):
                return answer.failed(CANCELLED)
            if turn.mode == "agent":
                told = Answer()
                for received in await self._bus.journal(RUNS_JOURNAL, turn.id):
                    told = told.after(received.message)
                return replace(answer, steps=told.steps)
        except BusUnavailable:
            pass
        return answer

    async def _answer(
        self, tenant: str, conversation: str, turn: Turn, before: Sequence[Turn], sent: asyncio.Event
    ) -> None:
        message, to = _request(conversation, turn, before)
        origin = Origin(tenant=tenant, correlation=conversation, log=turn.id)
        try:
            async with self._bus.open(message, to=to, origin=origin, timeout=self._timeout_s):
                sent.set()
                await self._guarded(tenant, conversation, turn)
        except BusError as error:
            await self._record(tenant, conversation, turn, Answer().failed(error.problem()))
        finally:
            sent.set()

    async def _guarded(self, tenant: str, conversation: str, turn: Turn) -> None:
        try:
            await self._keep(tenant, conversation, turn)
        except BusError as error:
            await self._record(tenant, conversation, turn, Answer().failed(error.problem()))
        except Exception:  # the edge of an answer: what is wrong with one must not end all others
            log.exception("an answer cannot be kept", turn=turn.id)
            await self._record(tenant, conversation, turn, Answer().failed(LOST))

    async def _keep(self, tenant: str, conversation: str, turn: Turn) -> None:
        """Read an answer to its end and record it."""
        answer = Answer()
        try:
            with anyio.fail_after(self._timeout_s):
                async for grown in self.watch(tenant, turn):
                    answer = grown
        except NoSuchLog:
            answer = answer.failed(LOST)
        except TimeoutError:
            late = Problem(code="timeout", message="The answer took too long.", next_step="Ask for less, or again.")
            answer = answer.failed(late)
        await self._record(tenant, conversation, turn, answer)

    async def _record(self, tenant: str, conversation: str, turn: Turn, answer: Answer) -> None:
        change = RecordAnswer(
            conversation_id=conversation,
            turn_id=turn.id,
            status=answer.status if answer.ended else "failed",
            text=answer.text,
            engine=answer.engine,
            sources=answer.sources,
            steps=answer.steps,
            error=answer.error,
            ended_at=time.time(),
        )
        while True:
            try:
                await self._bus.publish(
                    change, to=CONVERSATION_COMMANDS, origin=Origin(tenant=tenant), id=f"{turn.id}-answer"
                )
                return
            except BusUnavailable:
                log.warning("an answer waits for the bus to be kept", turn=turn.id)
                await anyio.sleep(PAUSE_S)


def _request(conversation: str, turn: Turn, before: Sequence[Turn]) -> tuple[Message, Stream]:
    match turn.mode:
        case "chat":
            messages = context(before, turn.question)
            body: dict[str, Any] = {
                "model": turn.model or "auto",
                "messages": messages,
                "stream": True,
                "max_tokens": ANSWER_TOKENS,
            }
            request = ChatRequested(
                body=json.dumps(body, ensure_ascii=False),
                model=turn.model or "auto",
                stream=True,
                prompt_chars=sum(len(message["content"]) for message in messages),
                store=turn.remember,
                user_turn=turn.question,
                session=conversation,
            )
            return request, CHAT_REQUESTS
        case "documents":
            research = RunResearch(
                run_id=turn.id,
                question=turn.question,
                use_memory=False,
                stream=True,
                model=turn.model,
                document_ids=turn.document_ids,
                turns=earlier(before, turn.question),
            )
            return research, AGENT_COMMANDS
        case "agent":
            run = RunAgent(
                run_id=turn.id,
                question=turn.question,
                advanced=True,
                model=turn.model,
                turns=earlier(before, turn.question),
            )
            return run, AGENT_COMMANDS
