"""An answer as it grows: a fold of the messages that make it up."""

import json
from dataclasses import dataclass, replace
from typing import Any, cast

from archive_contracts.agents import (
    AgentCompleted,
    AnswerDelta,
    ResearchCompleted,
    RunModelReplied,
    RunToolReturned,
    Source,
    SourceFound,
    Step,
)
from archive_contracts.base import Failed, Message, Problem
from archive_contracts.chat import ChatCompleted, ChatDelta
from archive_contracts.conversations import TurnStatus

STOPPED = "cancelled"
CUT = Problem(
    code="answer_cut",
    message="The answer was cut: it had reached its greatest length.",
    next_step="Ask to go on, or for something shorter.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is known of an answer so far. ``half`` is the beginning of a character whose end has not come."""

    status: TurnStatus = "running"
    text: str = ""
    engine: str = ""
    sources: tuple[Source, ...] = ()
    steps: tuple[Step, ...] = ()
    error: Problem | None = None
    half: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status != "running"

    def after(self, message: Message) -> "Answer":
        """Return the answer after one more message; what comes after the end changes nothing."""
        if self.ended:
            return self
        match message:
            case ChatDelta(body=body):
                whole, half = characters(self.half + text_of(body))
                return replace(self, text=self.text + whole, half=half)
            case AnswerDelta(text=text):
                return replace(self, text=self.text + text)
            case SourceFound(source=source):
                return replace(self, sources=(*self.sources, source))
            case RunModelReplied() | RunToolReturned():
                return replace(self, steps=_stepped(self.steps, message))
            case _:
                return self._ended(message)

    def _ended(self, message: Message) -> "Answer":
        match message:
            case ChatCompleted():
                text = message.text or self.text
                cut = CUT if message.finish_reason == "length" else None
                return replace(self, status="done", text=text, engine=message.engine, error=cut)
            case ResearchCompleted():
                text, sources = message.answer or self.text, message.sources or self.sources
                ended = replace(self, status="done", text=text, sources=sources, engine=message.engine)
                return ended if message.success else ended.failed(message.error)
            case AgentCompleted():
                text, steps = message.answer or self.text, message.steps or self.steps
                ended = replace(self, status="done", text=text, steps=steps, engine=message.engine)
                return ended if message.success else ended.failed(message.error)
            case Failed(problem=problem):
                return self.failed(problem)
            case _:
                return self

    def failed(self, problem: Problem | None) -> "Answer":
        """Return the answer as it ended badly; one that was stopped keeps what had come."""
        if problem and problem.code == STOPPED:
            return replace(self, status="stopped")
        unknown = Problem(code="failed", message="The answer failed.", next_step="Ask again.")
        return replace(self, status="failed", error=problem or unknown)


def text_of(body: str) -> str:
    """Return the text that a chunk of a streamed chat adds to its first choice; nothing for what is none."""
    try:
        chunk = cast("dict[str, Any]", json.loads(body))
        choices = cast("list[dict[str, Any]]", chunk.get("choices") or [])
        delta = cast("dict[str, Any]", (choices[0].get("delta") if choices else None) or {})
        content: object = delta.get("content")
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError, IndexError):
        return ""
    return content if isinstance(content, str) else ""


def characters(text: str) -> tuple[str, str]:
    """Return a text in whole characters, and half a one at its end that the next piece may complete.

    JSON may spell a character beyond the first 65,536 as two escapes, and engines cut what they stream between them.
    A half that nothing completes can be stored and sent nowhere: it becomes U+FFFD.
    """
    if text.isascii():
        return text, ""
    half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
    whole = text[: len(text) - len(half)]
    return whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), half


def _stepped(steps: tuple[Step, ...], event: RunModelReplied | RunToolReturned) -> tuple[Step, ...]:
    """Return the steps of a run after one more event of its journal."""
    known = {step.step_number: step for step in steps}
    step = known.get(event.step, Step(step_number=event.step))
    if isinstance(event, RunToolReturned):
        step = step.model_copy(update={"action": event.tool, "observation": event.observation})
    else:
        step = step.model_copy(update=_thought(event.text))
    return tuple(step for _, step in sorted((known | {event.step: step}).items()))


def _thought(text: str) -> dict[str, str]:
    try:
        said = cast("dict[str, Any]", json.loads(text))
        found = {name: said.get(name, "") for name in ("thought", "action", "action_input")}
    except (ValueError, RecursionError, AttributeError):
        return {"thought": text}
    words = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in found.items()
    }
    return {name: characters(value)[0] for name, value in words.items()}
