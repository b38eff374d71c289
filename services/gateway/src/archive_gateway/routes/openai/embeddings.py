"""Embeddings."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field
from starlette.types import ASGIApp

from archive_bus import BusError
from archive_contracts.engine import Embedded, EmbedRequested
from archive_contracts.streams import EMBEDDING_REQUESTS
from archive_gateway.domain.errors import BadRequest
from archive_gateway.domain.vectors import VectorError, each, rows
from archive_gateway.routes.answers import Json
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit

MOST_TEXTS = 2048


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


Text = Annotated[str, AfterValidator(_not_empty)]


class EmbeddingRequest(BaseModel):
    """Texts to be turned into vectors. Arrays of tokens are refused: their vocabulary is the client's own."""

    model: Annotated[str, Field(min_length=1)]
    input: Text | Annotated[list[Text] | list[int] | list[list[int]], Field(min_length=1, max_length=MOST_TEXTS)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int | None, Field(ge=1)] = None
    user: str | None = None

    def texts(self) -> tuple[str, ...]:
        """Return the texts. Raises BadRequest for tokens."""
        if isinstance(self.input, str):
            return (self.input,)
        texts = tuple(item for item in self.input if isinstance(item, str))
        if len(texts) < len(self.input):
            raise BadRequest(
                "Arrays of tokens cannot be embedded here: the engines have vocabularies of their own.",
                next_step="Send the text itself, as a string or an array of strings.",
                param="input",
                code="token_arrays_not_supported",
            )
        return texts


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
    texts = wanted.texts()
    found = await desk.asking.ask(
        EmbedRequested(texts=texts, model=wanted.model, dimensions=wanted.dimensions),
        Embedded,
        to=EMBEDDING_REQUESTS,
        origin=visit.origin,
        timeout=desk.limits.request_s,
    )
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
    return Json(answer, headers=((b"x-archive-engine", found.engine.encode("latin-1", "replace")),))
