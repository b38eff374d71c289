"""What a conversation is, how it reads elsewhere, and what of it a model gets to see."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from archive_contracts.agents import EarlierTurn, Source, Step
from archive_contracts.base import Problem
from archive_contracts.conversations import Mode, TurnStatus

TITLE_CHARS = 60
CONTEXT_CHARS = 6_000
"""What of a conversation goes along with a question: about 1,500 tokens, which a small model's window holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question and what came of it. Times are seconds since the epoch."""

    id: str
    mode: Mode
    question: str
    asked_at: float
    model: str = ""
    document_ids: tuple[str, ...] = ()
    remember: bool = False
    status: TurnStatus = "running"
    answer: str = ""
    engine: str = ""
    sources: tuple[Source, ...] = ()
    steps: tuple[Step, ...] = ()
    error: Problem | None = None
    ended_at: float = 0.0

    @property
    def cited(self) -> tuple[Source, ...]:
        """The sources that the answer refers to."""
        return tuple(source for source in self.sources if source.cited)

    @property
    def uncited(self) -> tuple[Source, ...]:
        """The sources that were found and not used."""
        return tuple(source for source in self.sources if not source.cited)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A conversation in a list."""

    id: str
    title: str
    updated_at: float
    excerpt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation with its turns, oldest first."""

    id: str
    title: str
    created_at: float
    updated_at: float
    turns: tuple[Turn, ...] = field(default=())


def title_of(question: str) -> str:
    """Return the title that a conversation begins with: the first line of its first question, cut at a word."""
    line = " ".join(next((line for line in question.splitlines() if line.strip()), "Conversation").split())
    if len(line) <= TITLE_CHARS:
        return line
    cut = line[:TITLE_CHARS].rpartition(" ")[0] or line[:TITLE_CHARS]
    return f"{cut}…"


def context(turns: Sequence[Turn], question: str) -> list[dict[str, str]]:
    """Return the messages that a model is asked with: as many whole turns as fit, the newest, then the question."""
    said: list[dict[str, str]] = []
    for turn in earlier(turns, question):
        said += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
    return [*said, {"role": "user", "content": question}]


def earlier(turns: Sequence[Turn], question: str) -> tuple[EarlierTurn, ...]:
    """Return the turns that a question over documents may refer back to: as many of the newest as fit."""
    kept: list[EarlierTurn] = []
    room = CONTEXT_CHARS - len(question)
    for turn in reversed(turns):
        room -= len(turn.question) + len(turn.answer)
        if room < 0:
            break
        if turn.answer:
            kept.insert(0, EarlierTurn(question=turn.question, answer=turn.answer))
    return tuple(kept)


def as_markdown(conversation: Conversation) -> str:
    """Return a conversation for people to keep."""
    parts = [f"# {conversation.title}\n"]
    for turn in conversation.turns:
        parts.append(f"## {_one_line(turn.question)}\n")
        if "\n" in turn.question.strip():
            parts.append(f"{turn.question.strip()}\n")
        parts.append(f"*{_moment(turn.asked_at)}{f' · {turn.engine}' if turn.engine else ''}*\n")
        parts.append(f"{turn.answer.strip() or _unanswered(turn)}\n")
        if turn.sources:
            parts.append("\n".join(_source_line(source) for source in turn.sources) + "\n")
    return "\n".join(parts)


def as_json(conversation: Conversation) -> str:
    """Return a conversation for programs."""
    return json.dumps(
        {
            "id": conversation.id,
            "title": conversation.title,
            "created_at": conversation.created_at,
            "updated_at": conversation.updated_at,
            "turns": [_turn_json(turn) for turn in conversation.turns],
        },
        ensure_ascii=False,
        indent=2,
    )


def _turn_json(turn: Turn) -> dict[str, Any]:
    return {
        "id": turn.id,
        "mode": turn.mode,
        "question": turn.question,
        "answer": turn.answer,
        "status": turn.status,
        "engine": turn.engine,
        "asked_at": turn.asked_at,
        "ended_at": turn.ended_at,
        "sources": [source.model_dump(mode="json") for source in turn.sources],
        "steps": [step.model_dump(mode="json") for step in turn.steps],
        "error": turn.error.model_dump(mode="json") if turn.error else None,
    }


def _one_line(text: str) -> str:
    return title_of(text)


def _unanswered(turn: Turn) -> str:
    return f"({turn.error.message})" if turn.error else f"({turn.status})"


def _source_line(source: Source) -> str:
    place = f", page {source.page}" if source.page else ""
    return f"- [{source.number}] {source.filename or source.type}{place}: {' '.join(source.sentence.split())}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
