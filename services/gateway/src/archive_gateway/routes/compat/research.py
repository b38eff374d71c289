"""POST /research: an answer from the library and the memory, with its sources."""

import secrets
from typing import Annotated

from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from archive_bus import BusError
from archive_contracts.agents import EarlierTurn, ResearchCompleted, RunResearch
from archive_gateway.domain.errors import GatewayError
from archive_gateway.domain.faces import platform_error
from archive_gateway.domain.ports import Patron
from archive_gateway.routes.answers import PING_S, EventWire, Json
from archive_gateway.routes.compat.fields import Spoken
from archive_gateway.routes.compat.research_events import answer_of, event_of
from archive_gateway.routes.compat.running import Running, running
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.openai.streams import NOTE_S, Presence, mark_of, resumed
from archive_gateway.routes.visit import Visit


class ResearchQuestion(BaseModel):
    """A question, and where its answer may come from."""

    question: Spoken
    use_library: bool = True
    use_memory: bool = True
    top_k: Annotated[int, Field(ge=1, le=50)] = 5
    stream: Annotated[bool, Field(description="Answer by server-sent events: source, delta, done, error.")] = False
    model: str = ""
    document_ids: Annotated[tuple[str, ...], Field(description="Only in these; empty means everywhere.")] = ()
    turns: Annotated[
        tuple[EarlierTurn, ...],
        Field(max_length=50, description="Earlier turns, oldest first: what the question may refer back to."),
    ] = ()


async def research(desk: Desk, visit: Visit) -> ASGIApp:
    """Answer a question from the library and the memory, or go on with the answer that ``Last-Event-ID`` names."""
    if mark := mark_of(visit):
        return await resumed(desk, visit, *mark)
    return _Research(desk, visit, await visit.body(ResearchQuestion))


class _Research:
    def __init__(self, desk: Desk, visit: Visit, question: ResearchQuestion) -> None:
        self._desk = desk
        self._visit = visit
        self._command = RunResearch(run_id=secrets.token_hex(16), **question.model_dump())
        self._stream = secrets.token_hex(16) if question.stream else ""
        self._presence: Presence | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._stream and self._visit.header(b"x-archive-resume") == "1":
            self._presence = self._attend()
        begun = running(self._desk, self._visit, self._command, stream=self._stream, presence=self._presence)
        async with begun as run:
            # Whoever sees the end of a stream that others may resume books it: once for all of them.
            run.meter.handed_on = self._presence is not None
            if self._stream:
                headers = ((b"x-archive-stream", self._stream.encode()), *run.meter.headers)
                await self._send(run, EventWire(send, headers=headers))
                return
            while not isinstance(reply := await run.conversation.next(), ResearchCompleted):
                pass
            run.conversation.ended = True
            run.meter.told(reply.used)
            await Json(answer_of(reply), headers=run.meter.headers)(scope, receive, send)

    def _attend(self) -> Presence:
        caller = self._visit.ticket.caller
        # What a run uses of models is told at its end: its pieces are no measure.
        patron = Patron(key=caller.key, model=self._command.model, prompt_chars=0)
        return Presence(self._desk, self._stream, tenant=caller.tenant, patron=patron)

    async def _send(self, run: Running, wire: EventWire) -> None:
        try:
            await self._pass_on(run, wire)
        except (GatewayError, BusError) as error:
            if not wire.started:
                raise
            run.meter.broke(None)
            await wire.event("error", platform_error(error.problem()))
        await wire.end()

    async def _pass_on(self, run: Running, wire: EventWire) -> None:
        conversation = run.conversation
        while not conversation.ended:
            if self._presence:
                await self._presence.note()
            reply = await conversation.next(within=NOTE_S if self._presence else PING_S)
            if reply is None:
                await wire.ping()
            elif event := event_of(reply):
                if isinstance(reply, ResearchCompleted):
                    conversation.ended = True
                    run.meter.told(reply.used)
                    if self._presence:
                        await self._presence.book_run(reply.used)
                await wire.event(*event, entry=f"{self._stream}/{conversation.seq}")
