"""Reranking: documents in the order of what they have to do with a query."""

from typing import Annotated

from pydantic import Field, JsonValue
from starlette.types import ASGIApp

from archive_contracts.chat import ChatRequested
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.openai.chat import ChatAnswer
from archive_gateway.routes.openai.chat_body import Asked, Open, text_of
from archive_gateway.routes.visit import Visit, parse

MOST_DOCUMENTS = 10_000


class RerankRequest(Open):
    """A query and documents. Fields that are not listed reach the engine untouched."""

    model: Annotated[str, Field(min_length=1, description="A model of `/v1/models`, or `auto`.")]
    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[list[str | dict[str, JsonValue]], Field(min_length=1, max_length=MOST_DOCUMENTS)]
    top_n: Annotated[int | None, Field(ge=1)] = None

    def chars(self) -> int:
        """Return how many characters a model has to read."""
        texts = (item if isinstance(item, str) else str(item.get("text", "")) for item in self.documents)
        return sum(len(text) + len(self.query) for text in texts)


class RerankResult(Open):
    """One document: its place in the request, and how much it has to do with the query."""

    index: int
    relevance_score: float


class RerankAnswer(Open):
    """Documents, best first, as the engine gave them."""

    results: list[RerankResult]


async def rerank(desk: Desk, visit: Visit) -> ASGIApp:
    """Order documents by a query, where a lane can."""
    raw = await visit.raw()
    wanted = parse(raw, RerankRequest)
    desk.metering.guardrails.check_sizes(prompt_chars=wanted.chars(), answer_tokens=0, choices=1)
    request = ChatRequested(
        body=text_of(raw),
        model=wanted.model,
        kind="rerank",
        needs=("rerank",),
        prompt_chars=wanted.chars(),
        store=False,
    )
    return ChatAnswer(desk, visit, Asked(request, answer_tokens=1, choices=1))
