"""Embeddings."""

from typing import Annotated, Literal, cast

from pydantic import AfterValidator, BaseModel, Field
from starlette.types import ASGIApp

from archive_bus import BusError
from archive_contracts.chat import Usage
from archive_contracts.engine import Embedded, EmbedRequested
from archive_contracts.streams import EMBEDDING_REQUESTS
from archive_gateway.domain.vectors import VectorError, each, rows
from archive_gateway.routes.answers import Json
from archive_gateway.routes.connection import while_connected
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.headers import answer_headers
from archive_gateway.routes.metering import Demand
from archive_gateway.routes.visit import Visit

MOST_TEXTS = 2048
MOST_TOKENS = 300_000
"""Tokens of one text."""


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


Text = Annotated[str, AfterValidator(_not_empty)]
Token = Annotated[int, Field(ge=0, lt=2**31)]
Tokens = Annotated[list[Token], Field(min_length=1, max_length=MOST_TOKENS)]


class EmbeddingRequest(BaseModel):
    """Texts to be turned into vectors. Arrays of tokens are read as cl100k, and embedded as the text they stand for."""

    model: Annotated[str, Field(min_length=1)]
    input: (
        Text
        | Annotated[list[Text] | list[Tokens], Field(min_length=1, max_length=MOST_TEXTS)]
        | Annotated[Tokens, Field(min_length=1)]
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int | None, Field(ge=1)] = None
    user: str | None = None


class Embedding(BaseModel):
    """One vector: an array of numbers, or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: str | list[float]


class EmbeddingUsage(BaseModel):
    """Tokens as the engine counted them."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """Vectors in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


async def create_embedding(desk: Desk, visit: Visit) -> ASGIApp:
    """Turn texts into vectors."""
    wanted = await visit.body(EmbeddingRequest)
    texts = await _texts(desk, wanted)
    chars, timeout = sum(map(len, texts)), desk.limits.request_s
    desk.metering.guardrails.check_sizes(prompt_chars=chars, answer_tokens=0, choices=1)
    demand = Demand(model=wanted.model, prompt_chars=chars, answer_tokens=0, timeout_s=timeout)
    request = EmbedRequested(texts=texts, model=wanted.model, dimensions=wanted.dimensions)
    async with desk.metering.admitted(visit.ticket, demand) as meter, while_connected(visit.scope):
        found = await desk.asking.ask(request, Embedded, to=EMBEDDING_REQUESTS, origin=visit.origin, timeout=timeout)
        meter.done(found.model, Usage(prompt_tokens=found.tokens, total_tokens=found.tokens))
    try:
        vectors = rows(found, texts=len(texts))
    except VectorError as error:
        raise BusError(f"engine {found.engine}: {error}") from error
    answer = EmbeddingList(
        data=[
            Embedding(index=index, embedding=vector)
            for index, vector in enumerate(each(vectors, encoding=wanted.encoding_format))
        ],
        model=found.model,
        usage=EmbeddingUsage(prompt_tokens=found.tokens, total_tokens=found.tokens),
    )
    return Json(answer, headers=answer_headers(visit, found, meter.headers))


async def _texts(desk: Desk, wanted: EmbeddingRequest) -> tuple[str, ...]:
    match wanted.input:
        case str(text):
            return (text,)
        case [int(), *_] as tokens:
            return await desk.tokens.texts([tokens])
        case [list(), *_] as arrays:
            return await desk.tokens.texts(arrays)
        case texts:
            return tuple(cast("list[str]", texts))
