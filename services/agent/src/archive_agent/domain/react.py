"""The ReAct loop as a fold over the run's journal: state is what the events say, the next action follows from state.

Nothing here waits or remembers, so a run goes on at any process that can read its journal. The model is asked
`max_steps` times at most, whatever it replies.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from archive_agent.domain.actions import FINAL_ANSWER, FinalAnswer, ToolCall, Unreadable, read_reply, response_format
from archive_agent.domain.fitting import CountTokens, Message
from archive_agent.domain.trajectory import Trajectory, build_messages
from archive_contracts.agents import EarlierTurn, RunFinished, RunModelReplied, RunStarted, RunToolReturned, Step
from archive_contracts.tools import ToolSpec

DEFAULT_MAX_STEPS = 10
MAX_STEPS = 50
# A model that twice in a row does not speak JSON is not going to; what it says is taken for its answer.
UNREADABLE_BEFORE_PROSE = 2

Event = RunStarted | RunModelReplied | RunToolReturned | RunFinished

NOT_READABLE = (
    'That was no valid action. Reply with one JSON object: {"thought": ..., "action": ..., "action_input": {...}}.'
)
ONLY_ANSWER = f"No tool may be used any more. Reply with {FINAL_ANSWER}."


@dataclass(frozen=True)
class RunState:
    """A run as its journal tells it.

    `asked` counts the model's replies. `only_answer` is set once the model repeated a call. `prose` is an answer to
    fall back on, given in the wrong form.
    """

    question: str = ""
    max_steps: int = DEFAULT_MAX_STEPS
    steps: tuple[Step, ...] = ()
    asked: int = 0
    pending: ToolCall | None = None
    answer: str | None = None
    only_answer: bool = False
    unreadable: int = 0
    prose: str = ""
    finished: RunFinished | None = None


@dataclass(frozen=True)
class CallModel:
    """Ask the model; its reply is step `step` of the journal. `response_format` is as OpenAI's API takes it."""

    step: int
    messages: tuple[Message, ...]
    response_format: dict[str, Any]


@dataclass(frozen=True)
class CallTool:
    """Run a tool; `arguments` is JSON. The outcome, or the error's text, comes back as RunToolReturned."""

    step: int
    tool: str
    arguments: str


@dataclass(frozen=True)
class Finish:
    """The run is over; `reason` says why where there is no answer."""

    answer: str
    success: bool
    reason: str = ""


Action = CallModel | CallTool | Finish


def fold(events: Iterable[Event]) -> RunState:
    """The state after a journal."""
    state = RunState()
    for event in events:
        state = apply(state, event)
    return state


def apply(state: RunState, event: Event) -> RunState:
    """The state after one more event; an event that does not fit the state (a duplicate) changes nothing."""
    if isinstance(event, RunStarted):
        limit = min(event.max_steps or DEFAULT_MAX_STEPS, MAX_STEPS)
        return RunState(question=event.question, max_steps=limit)
    if isinstance(event, RunFinished):
        return replace(state, finished=event, pending=None)
    if isinstance(event, RunModelReplied):
        if event.step != state.asked + 1 or state.pending is not None:
            return state
        return _replied(replace(state, asked=state.asked + 1), event.text)
    if state.pending is None or event.step != state.asked:
        return state
    return _with_step(replace(state, pending=None), state.pending, event.observation)


def next_action(
    state: RunState,
    tools: Sequence[ToolSpec],
    *,
    context: int,
    answer_tokens: int,
    count_tokens: CountTokens,
    turns: Sequence[EarlierTurn] = (),
) -> Action:
    """What to do now. The messages of CallModel leave `answer_tokens` of the `context` free.

    `turns` are what the task may refer back to. They are the command's, not the journal's: whoever goes on has both.
    """
    if state.finished is not None:
        problem = state.finished.error
        return Finish(state.finished.answer, state.finished.success, problem.message if problem else "")
    if state.answer is not None:
        return Finish(state.answer, True)
    if state.pending is not None:
        return CallTool(state.asked, state.pending.tool, state.pending.arguments)
    if state.asked >= state.max_steps:
        return Finish("", False, f"No answer was reached in {state.max_steps} steps.")
    offered = () if _must_answer(state) else tuple(tools)
    trajectory = Trajectory(state.question, state.steps, offered, _must_answer(state), tuple(turns))
    messages = build_messages(trajectory, budget=context - answer_tokens, count_tokens=count_tokens)
    return CallModel(state.asked + 1, tuple(messages), response_format(offered))


def _must_answer(state: RunState) -> bool:
    """After a repetition, and in the last step, nothing but the answer is left to say."""
    return state.only_answer or state.asked >= state.max_steps - 1


def _replied(state: RunState, text: str) -> RunState:
    reply = read_reply(text)
    if isinstance(reply, ToolCall):
        return _called(replace(state, unreadable=0), reply)
    if isinstance(reply, FinalAnswer) and reply.answer:
        return replace(state, answer=reply.answer)
    return _not_understood(state, reply.text if isinstance(reply, Unreadable) else "", said=text)


def _called(state: RunState, call: ToolCall) -> RunState:
    if state.asked >= state.max_steps:  # only the answer was left to say
        return replace(state, answer=state.prose or None)
    if state.only_answer:
        return _with_step(state, call, ONLY_ANSWER)
    earlier = _earlier(state, call)
    if earlier is None:
        return replace(state, pending=call)
    again = f"This was done already, with the result: {earlier.observation}\n{ONLY_ANSWER}"
    return replace(_with_step(state, call, again), only_answer=True)


def _not_understood(state: RunState, prose: str, *, said: str) -> RunState:
    usable = "" if prose.startswith(("{", "[")) else prose
    state = replace(state, unreadable=state.unreadable + 1, prose=usable or state.prose)
    last = state.asked >= state.max_steps
    if state.prose and (last or state.unreadable >= UNREADABLE_BEFORE_PROSE):
        return replace(state, answer=state.prose)
    if last:
        return state
    return _with_step(state, ToolCall("", "", json.dumps(said[:200])), NOT_READABLE)


def _with_step(state: RunState, call: ToolCall, observation: str) -> RunState:
    step = Step(
        step_number=len(state.steps) + 1,
        thought=call.thought,
        action=call.tool,
        action_input=shown_input(call.arguments),
        observation=observation,
    )
    return replace(state, steps=(*state.steps, step))


def _earlier(state: RunState, call: ToolCall) -> Step | None:
    shown = shown_input(call.arguments)
    return next((step for step in state.steps if (step.action, step.action_input) == (call.tool, shown)), None)


def shown_input(arguments: str) -> str:
    """Arguments as people read them: the value where there is only one, JSON otherwise."""
    decoded: object = json.loads(arguments)
    if isinstance(decoded, dict):
        values = list(cast("dict[str, object]", decoded).values())
        if len(values) != 1:
            return arguments
        decoded = values[0]
    return decoded if isinstance(decoded, str) else json.dumps(decoded, ensure_ascii=False)
