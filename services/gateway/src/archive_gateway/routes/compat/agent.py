"""POST /agent and /agent/advanced: a run in steps, with tools."""

import secrets
from typing import Annotated

from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from archive_bus import BusError
from archive_contracts.agents import AgentCompleted, EarlierTurn, RunAgent, Step
from archive_gateway.routes.answers import Json
from archive_gateway.routes.compat.fields import Spoken, in_words
from archive_gateway.routes.compat.running import running
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit


class AgentQuestion(BaseModel):
    """A question to be worked on in steps."""

    question: Spoken
    max_steps: Annotated[int, Field(description="0 means 10.", ge=0, le=50)] = 10
    model: str = ""
    turns: Annotated[
        tuple[EarlierTurn, ...],
        Field(max_length=50, description="Earlier turns, oldest first: what the question may refer back to."),
    ] = ()


class AgentAnswer(BaseModel):
    """The answer and the way to it. `error` says why a run ended without one."""

    answer: str
    steps: tuple[Step, ...]
    total_steps: int
    success: bool
    engine: str
    error: str | None = None


async def run_agent(desk: Desk, visit: Visit) -> ASGIApp:
    """Work on a question in steps, with the basic tools."""
    return _Run(desk, visit, await visit.body(AgentQuestion), advanced=False)


async def run_advanced_agent(desk: Desk, visit: Visit) -> ASGIApp:
    """Work on a question in steps, also with the tools that reach memory and library."""
    return _Run(desk, visit, await visit.body(AgentQuestion), advanced=True)


class _Run:
    def __init__(self, desk: Desk, visit: Visit, question: AgentQuestion, *, advanced: bool) -> None:
        self._desk = desk
        self._visit = visit
        self._command = RunAgent(
            run_id=secrets.token_hex(16),
            question=question.question,
            max_steps=question.max_steps,
            advanced=advanced,
            model=question.model,
            turns=question.turns,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with running(self._desk, self._visit, self._command) as run:
            reply = await run.conversation.next()
            run.conversation.ended = True
            if not isinstance(reply, AgentCompleted):
                raise BusError("the agent answered with something else than a completed run")
            run.meter.told(reply.used)
            await Json(_answer(reply), headers=run.meter.headers)(scope, receive, send)


def _answer(done: AgentCompleted) -> AgentAnswer:
    return AgentAnswer(
        answer=done.answer,
        steps=done.steps,
        total_steps=len(done.steps),
        success=done.success,
        engine=done.engine,
        error=in_words(done.error),
    )
