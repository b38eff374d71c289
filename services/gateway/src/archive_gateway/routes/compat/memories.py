"""/memories: remembered turns, listed, searched, looked up, forgotten."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from archive_contracts.memory import (
    ForgetMemory,
    GetMemory,
    ListMemories,
    MemoriesFound,
    MemoryForgotten,
    MemoryItem,
    RecallMemories,
)
from archive_contracts.streams import MEMORY_COMMANDS, MEMORY_QUERIES
from archive_gateway.domain.errors import NotThere
from archive_gateway.routes.answers import Json
from archive_gateway.routes.compat.fields import Spoken
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit


class MemoryPage(BaseModel):
    """Which part of the list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    offset: Annotated[int, Field(ge=0, lt=2**31)] = 0


class MemoryQuery(BaseModel):
    """What to remember."""

    query: Spoken
    top_k: Annotated[int, Field(ge=1, le=100)] = 10
    session_id: str | None = None


class Memory(BaseModel):
    """A remembered turn. `similarity_score` is a distance, as the original had it, and null without a query."""

    id: str
    message: str
    role: str
    perplexity: Annotated[float | None, Field(description="Not measured by this memory.")] = None
    surprise_score: Annotated[float | None, Field(description="Not measured by this memory.")] = None
    timestamp: float
    session_id: str
    similarity_score: float | None


class MemoryList(BaseModel):
    """Remembered turns: best first for a query, newest first for a list."""

    memories: list[Memory]
    total: int


class MemoryDeleted(BaseModel):
    """A remembered turn is gone."""

    status: Literal["deleted"] = "deleted"
    id: str


async def list_memories(desk: Desk, visit: Visit) -> ASGIApp:
    """List what is remembered, newest first."""
    page = visit.query(MemoryPage)
    found = await desk.asking.ask(
        ListMemories(limit=page.limit, offset=page.offset), MemoriesFound, to=MEMORY_QUERIES, origin=visit.origin
    )
    return Json(MemoryList(memories=[_memory(item) for item in found.items], total=found.total))


async def search_memories(desk: Desk, visit: Visit) -> ASGIApp:
    """Find the remembered turns nearest to a query."""
    wanted = await visit.body(MemoryQuery)
    found = await desk.asking.ask(
        RecallMemories(query=wanted.query, top_k=wanted.top_k, session=wanted.session_id),
        MemoriesFound,
        to=MEMORY_QUERIES,
        origin=visit.origin,
    )
    memories = [_memory(item) for item in found.items]
    return Json(MemoryList(memories=memories, total=len(memories)))


async def get_memory(desk: Desk, visit: Visit) -> ASGIApp:
    """Look up a remembered turn."""
    wanted = visit.id_of("memory", "memory")
    found = await desk.asking.ask(GetMemory(memory_id=wanted), MemoriesFound, to=MEMORY_QUERIES, origin=visit.origin)
    if not found.items:
        raise NotThere(f"There is no memory {wanted!r}.", next_step="See /memories.", code="memory_not_found")
    return Json(_memory(found.items[0]))


async def forget_memory(desk: Desk, visit: Visit) -> ASGIApp:
    """Forget one remembered turn; answered when it is gone."""
    wanted = visit.id_of("memory", "memory")
    gone = await desk.asking.ask(
        ForgetMemory(memory_id=wanted), MemoryForgotten, to=MEMORY_COMMANDS, origin=visit.origin
    )
    return Json(MemoryDeleted(id=gone.memory_id))


def _memory(item: MemoryItem) -> Memory:
    return Memory(
        id=item.id,
        message=item.text,
        role=item.role,
        timestamp=item.created_at,
        session_id=item.session,
        similarity_score=None if item.similarity is None else round(1.0 - item.similarity, 6),
    )
