"""ReAct: the run's journal says what was done; what follows from it is done, and written to the journal."""

import time
from dataclasses import dataclass

import anyio

from archive_agent.domain.budget import estimated_tokens
from archive_agent.domain.errors import CANCELLED
from archive_agent.domain.react import CallModel, CallTool, Event, Finish, RunState, apply, fold, next_action
from archive_agent.domain.surroundings import Contexts, Toolbox
from archive_agent.domain.usage import Tally
from archive_agent.handlers.asking import Question, begun, whole
from archive_bus import BusError, BusUnavailable, Delivery
from archive_contracts.agents import (
    AgentCompleted,
    ModelUse,
    RunAgent,
    RunFinished,
    RunModelReplied,
    RunStarted,
    RunToolReturned,
)
from archive_contracts.base import Message, Problem
from archive_contracts.streams import RUNS_JOURNAL, TOOL_COMMANDS
from archive_contracts.tools import RunTool, ToolCompleted, ToolSpec

ANSWER_TOKENS = 400
TOOL_TIMEOUT_S = 60.0
HEARING_S = 5.0
"""Tool runners announce themselves every few seconds; a run that comes before the first waits."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends, which engine replied last, and what models were used for."""

    state: RunState
    action: Finish
    problem: Problem | None
    engine: str
    used: tuple[ModelUse, ...]


class Runs:
    """Works on tasks step by step. A run goes on at any process that can read its journal."""

    def __init__(self, contexts: Contexts, toolbox: Toolbox) -> None:
        self._contexts = contexts
        self._toolbox = toolbox

    async def run(self, delivery: Delivery[RunAgent]) -> None:
        """Work on one task to its end."""
        run_id, tally = delivery.message.run_id, Tally()
        with delivery.cancellable(delivery.envelope.id, run_id):
            if not (await delivery.cancelled(run_id) or await delivery.cancelled()):
                await self._work(delivery, tally)
                return
        state, engine, written = await self._resumed(delivery)
        if not tally.used():
            # Once work has begun here the tally counts what others wrote down, and its own calls, which are there too.
            tally.earlier = written
        if state.finished is None:
            await self._finish(delivery, Ending(state, Finish("", False), CANCELLED, engine, tally.used()))

    async def _work(self, delivery: Delivery[RunAgent], tally: Tally) -> None:
        command = delivery.message
        state, engine, tally.earlier = await self._resumed(delivery)
        try:
            tools = await self._tools(advanced=command.advanced)
            while not isinstance(action := self._next(state, tools, command), Finish):
                if isinstance(action, CallModel):
                    event = await self._think(delivery, action, tally)
                    engine = event.engine or engine
                else:
                    event = await self._act(delivery, action)
                state = apply(state, event)
        except BusUnavailable:
            raise  # what was done is in the journal: the run goes on when the bus is back
        except BusError as error:
            action, problem = Finish("", False), error.problem()
        else:
            earlier = state.finished.error if state.finished else None
            problem = None if action.success else earlier or _unfinished(action.reason)
        await self._finish(delivery, Ending(state, action, problem, engine, tally.used()))

    async def _resumed(self, delivery: Delivery[RunAgent]) -> tuple[RunState, str, tuple[ModelUse, ...]]:
        """Return where the run stands, the engine that replied last, and what models were used for."""
        command = delivery.message
        started = RunStarted(
            run_id=command.run_id,
            kind="react",
            question=command.question,
            max_steps=command.max_steps,
            advanced=command.advanced,
            model=command.model,
        )
        await self._write(delivery, started, "started")
        entries = await delivery.journal(RUNS_JOURNAL, command.run_id)
        events = [entry.message for entry in entries if isinstance(entry.message, Event)]
        replies = [event for event in events if isinstance(event, RunModelReplied)]
        engines = [event.engine for event in replies if event.engine]
        state = fold(events)
        # The end of a run says it all, also of calls that never became replies.
        told = state.finished.used if state.finished else ()
        return state, engines[-1] if engines else "", told or tuple(event.used for event in replies if event.used)

    async def _tools(self, *, advanced: bool) -> tuple[ToolSpec, ...]:
        with anyio.move_on_after(HEARING_S):
            while not self._toolbox.at(time.monotonic(), advanced=advanced):  # noqa: ASYNC110 - a pure fold wakes nobody
                await anyio.sleep(0.1)
        return self._toolbox.at(time.monotonic(), advanced=advanced)

    def _next(self, state: RunState, tools: tuple[ToolSpec, ...], command: RunAgent) -> CallModel | CallTool | Finish:
        context = self._contexts.smallest(time.monotonic(), model=command.model)
        return next_action(
            state,
            tools,
            context=context,
            answer_tokens=ANSWER_TOKENS,
            count_tokens=estimated_tokens,
            turns=command.turns,
        )

    async def _think(self, delivery: Delivery[RunAgent], action: CallModel, tally: Tally) -> RunModelReplied:
        question = Question(
            messages=action.messages,
            model=delivery.message.model,
            max_tokens=ANSWER_TOKENS,
            response_format=action.response_format,
            needs=("chat", "json_schema"),
        )
        call = begun(tally, question)
        reply = await whole(delivery, question, call)
        event = RunModelReplied(
            run_id=delivery.message.run_id,
            step=action.step,
            text=reply.text,
            engine=f"{reply.engine}/{reply.model}",
            used=call.use(),
        )
        await self._write(delivery, event, f"model/{action.step}")
        return event

    async def _act(self, delivery: Delivery[RunAgent], action: CallTool) -> RunToolReturned:
        run_id = delivery.message.run_id
        command = RunTool(call=f"{run_id}/{action.step}", tool=action.tool, arguments=action.arguments)
        try:
            result = await delivery.request(command, ToolCompleted, to=TOOL_COMMANDS, timeout=TOOL_TIMEOUT_S)
            ok, observation = result.ok, result.result
        except BusUnavailable:
            raise  # the journal cannot be written either; the step is done again when the bus is back
        except BusError as error:
            ok, observation = False, f"The tool did not answer: {error}"
        event = RunToolReturned(run_id=run_id, step=action.step, tool=action.tool, observation=observation, ok=ok)
        await self._write(delivery, event, f"tool/{action.step}")
        return event

    async def _finish(self, delivery: Delivery[RunAgent], ending: Ending) -> None:
        run_id, action = delivery.message.run_id, ending.action
        finished = RunFinished(
            run_id=run_id, answer=action.answer, success=action.success, error=ending.problem, used=ending.used
        )
        await self._write(delivery, finished, "finished")
        await delivery.reply(
            AgentCompleted(
                run_id=run_id,
                answer=action.answer,
                steps=ending.state.steps,
                success=action.success,
                engine=ending.engine,
                error=ending.problem,
                used=ending.used,
            )
        )

    async def _write(self, delivery: Delivery[RunAgent], event: Message, place: str) -> None:
        """Append once for each place in the run, whichever process writes it."""
        run_id = delivery.message.run_id
        await delivery.append(event, to=RUNS_JOURNAL, entity=run_id, id=f"{run_id}/{place}")


def _unfinished(reason: str) -> Problem:
    return Problem(
        code="no_answer",
        message=reason or "The run ended without an answer.",
        next_step="Allow more steps with max_steps, or use a more capable engine.",
        status=422,
    )
