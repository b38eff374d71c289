"""Calls of the chat model over the bus."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import anyio

from archive_agent.domain.fitting import Message
from archive_agent.domain.usage import ModelCall, Tally
from archive_bus import BusError, Delivery, RequestFailed
from archive_contracts.chat import Capability, ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS

ANSWER_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask a model, and how."""

    messages: Sequence[Message]
    model: str = ""
    max_tokens: int
    temperature: float = 0.2
    response_format: Mapping[str, Any] | None = None
    needs: tuple[Capability, ...] = ("chat",)
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def prompt_chars(self) -> int:
        """Characters that the model has to read."""
        return sum(len(message.content) for message in self.messages)

    def request(self, *, stream: bool) -> ChatRequested:
        """Return it as a message. It is the agent's own talk: nobody remembers it."""
        body: dict[str, Any] = {
            "model": self.model or "auto",
            "messages": [{"role": message.role, "content": message.content} for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stream": stream,
            **self.extra,
        }
        if self.response_format:
            body["response_format"] = self.response_format
        return ChatRequested(
            body=json.dumps(body, ensure_ascii=False),
            model=self.model or "auto",
            stream=stream,
            needs=self.needs,
            prompt_chars=self.prompt_chars,
            store=False,
        )


def begun(tally: Tally, question: Question) -> ModelCall:
    """Return a call for a question, which the tally counts from now on."""
    return tally.call(question.model or "auto", prompt_chars=question.prompt_chars)


async def streamed(
    delivery: Delivery[Any], question: Question, counted: ModelCall
) -> AsyncGenerator[str | ChatCompleted, None]:
    """Yield the pieces of an answer's text, and at the end its completion. Raises BusError."""
    request = question.request(stream=True)
    async with delivery.open(request, to=CHAT_REQUESTS, timeout=ANSWER_TIMEOUT_S) as call:
        ended = False
        try:
            while not ended:
                reply = await call.next()
                if isinstance(reply, ChatDelta):
                    counted.pieces += 1
                    if text := _text(reply.body):
                        yield text
                elif isinstance(reply, ChatCompleted):
                    ended, counted.done = True, reply
                    yield reply
                else:
                    raise BusError(f"a chat was answered by {reply.type}")
        except RequestFailed as failed:
            ended, counted.spent = True, failed.problem().spent
            raise
        finally:
            if not ended:
                with anyio.move_on_after(1, shield=True):
                    await delivery.cancel(call.message_id)


async def whole(delivery: Delivery[Any], question: Question, counted: ModelCall) -> ChatCompleted:
    """Return a complete answer. Raises BusError."""
    async with aclosing(streamed(delivery, question, counted)) as pieces:
        async for piece in pieces:
            if isinstance(piece, ChatCompleted):
                return piece
    raise BusError("a chat ended without its completion")


def _text(body: str) -> str:
    """Return the text that a chunk adds to the first choice."""
    chunk: dict[str, Any] = json.loads(body)
    choices: list[dict[str, Any]] = chunk.get("choices") or []
    delta: dict[str, Any] = (choices[0].get("delta") if choices else None) or {}
    content = delta.get("content")
    return content if isinstance(content, str) else ""
