"""POST /research: an answer from the library and the memory, with its sources."""

import secrets
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from archive_bus import BusError
from archive_contracts.agents import AnswerDelta, ResearchCompleted, RunResearch, Source, SourceFound
from archive_contracts.streams import AGENT_COMMANDS
from archive_gateway.domain.errors import GatewayError
from archive_gateway.domain.faces import platform_error
from archive_gateway.routes.answers import PING_S, EventWire, Json
from archive_gateway.routes.asking import Conversation
from archive_gateway.routes.compat.agent import in_words
from archive_gateway.routes.compat.fields import Spoken
from archive_gateway.routes.connection import while_connected
from archive_gateway.routes.desk import Desk
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


class ResearchSource(BaseModel):
    """Something the answer may rest on. `page` is that of the sentence nearest to the question."""

    number: int
    type: Literal["library", "memory"]
    filename: str
    page: int | None
    sentence: str
    text: str
    similarity: float
    document_id: str
    chunk_id: str
    section: tuple[str, ...]
    timestamp: float | None
    message: Annotated[str | None, Field(description="The text, when it is a remembered turn.")]
    cited: bool


class ResearchAnswer(BaseModel):
    """The answer, and what it rests on: best first."""

    question: str
    answer: str
    sources: list[ResearchSource]
    library_chunks_consulted: int
    memories_consulted: int
    total_sources: int
    success: bool
    engine: str
    error: str | None = None


class ResearchDelta(BaseModel):
    """A piece of the answer."""

    text: str


async def research(desk: Desk, visit: Visit) -> ASGIApp:
    """Answer a question from the library and the memory."""
    return _Research(desk, visit, await visit.body(ResearchQuestion))


class _Research:
    def __init__(self, desk: Desk, visit: Visit, question: ResearchQuestion) -> None:
        self._desk = desk
        self._visit = visit
        self._command = RunResearch(run_id=secrets.token_hex(16), **question.model_dump())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        opened = self._desk.asking.open(
            self._command, to=AGENT_COMMANDS, origin=self._visit.origin, timeout=self._desk.limits.run_s
        )
        async with opened as conversation, while_connected(receive):
            if self._command.stream:
                await self._stream(conversation, EventWire(send))
                return
            while not isinstance(reply := await conversation.next(), ResearchCompleted):
                pass
            conversation.ended = True
            await Json(_answer(reply))(scope, receive, send)

    async def _stream(self, conversation: Conversation, wire: EventWire) -> None:
        try:
            await _pass_on(conversation, wire)
        except (GatewayError, BusError) as error:
            if not wire.started:
                raise
            await wire.event("error", platform_error(error.problem()))
        await wire.end()


async def _pass_on(conversation: Conversation, wire: EventWire) -> None:
    while True:
        match await conversation.next(within=PING_S):
            case None:
                await wire.ping()
            case SourceFound(source=source):
                await wire.event("source", _source(source))
            case AnswerDelta(text=text):
                await wire.event("delta", ResearchDelta(text=text))
            case ResearchCompleted() as done:
                conversation.ended = True
                await wire.event("done", _answer(done))
                return
            case _:
                pass


def _answer(done: ResearchCompleted) -> ResearchAnswer:
    return ResearchAnswer(
        question=done.question,
        answer=done.answer,
        sources=[_source(source) for source in done.sources],
        library_chunks_consulted=done.library_chunks_consulted,
        memories_consulted=done.memories_consulted,
        total_sources=len(done.sources),
        success=done.success,
        engine=done.engine,
        error=in_words(done.error),
    )


def _source(source: Source) -> ResearchSource:
    return ResearchSource(**source.model_dump(), message=source.text if source.type == "memory" else None)
