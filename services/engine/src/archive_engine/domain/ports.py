"""What the handlers need from a model, whichever it is."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from archive_contracts.chat import Kind
from archive_contracts.engine import EmbedRequested, ModelCard


class Event(Protocol):
    """A chunk of an answer, or the whole of one that is not streamed."""

    @property
    def data(self) -> str:
        """JSON as the engine sent it."""
        ...

    @property
    def parsed(self) -> Mapping[str, Any]:
        """The same, decoded."""
        ...

    @property
    def token(self) -> bool:
        """Whether it carries a part of the answer."""
        ...


class Reply(Protocol):
    """An answer under way: iterate for its events."""

    @property
    def bad_chunks(self) -> int:
        """Chunks that were no JSON object and were left out."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers; one name may come more than once."""
        ...

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate over the events, once."""
        ...


class Generator(Protocol):
    """A model behind an API like OpenAI's."""

    def call(self, kind: Kind, body: str, *, stream: bool) -> AbstractAsyncContextManager[Reply]:
        """Ask for an answer; leaving the context closes the call."""
        ...


Operation = Kind | Literal["embedding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a call to an engine came to; times in seconds, ``error`` empty when it went well."""

    operation: Operation
    requested: str
    answered: str
    duration_s: float
    first_chunk_s: float | None = None
    chunks: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    bad_chunks: int = 0
    error: str = ""


class Meter(Protocol):
    """Counts calls for whoever watches."""

    def __call__(self, outcome: Outcome) -> None:
        """Take in a call that ended."""
        ...


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings of some texts: little-endian float32, shape (sum of counts, dim). ``headers`` are the engine's own."""

    model: str
    dim: int
    data: bytes
    counts: tuple[int, ...]
    tokens: int
    headers: tuple[tuple[str, str], ...] = ()


class Embedder(Protocol):
    """A model that turns texts into vectors."""

    async def embed(self, request: EmbedRequested) -> Vectors:
        """Return a vector a text (or array of tokens), or, windowed, one for each window of a text.

        Raises:
            BadTokens: an array holds what is no token of the model.
        """
        ...


@dataclass(frozen=True, slots=True)
class Condition:
    """What an engine says of itself now. ``problem`` is empty when it can take requests."""

    models: tuple[ModelCard, ...] = ()
    slots: int | None = None
    problem: str = ""


class Probe(Protocol):
    """Asks an engine how it is."""

    async def __call__(self) -> Condition:
        """Return its condition; an engine that is away is a condition, not an error."""
        ...
