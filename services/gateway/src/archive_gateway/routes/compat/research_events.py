"""What a research run tells, as clients of /research read it."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from archive_contracts.agents import AnswerDelta, ResearchCompleted, Source, SourceFound
from archive_contracts.base import Message
from archive_gateway.routes.compat.fields import in_words


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


def event_of(message: Message) -> tuple[str, BaseModel] | None:
    """Return a reply of the agent as an event: its name and its data; None for one that says nothing to clients."""
    match message:
        case SourceFound(source=source):
            return "source", _source(source)
        case AnswerDelta(text=text):
            return "delta", ResearchDelta(text=text)
        case ResearchCompleted() as done:
            return "done", answer_of(done)
        case _:
            return None


def answer_of(done: ResearchCompleted) -> ResearchAnswer:
    """Return the whole answer."""
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
