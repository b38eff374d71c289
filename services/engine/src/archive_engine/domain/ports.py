"""What the handlers need from a model, whichever it is."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from archive_contracts.engine import ModelCard


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


class Generator(Protocol):
    """A chat model behind an API like OpenAI's."""

    def chat(self, body: str, *, stream: bool) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Ask for a chat answer; leaving the context closes the call."""
        ...

    def completions(self, body: str, *, stream: bool) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Ask for a completion."""
        ...


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings of some texts: little-endian float32, shape (sum of counts, dim)."""

    model: str
    dim: int
    data: bytes
    counts: tuple[int, ...]
    tokens: int


class Embedder(Protocol):
    """A model that turns texts into vectors."""

    async def embed(self, texts: Sequence[str], *, windowed: bool, dimensions: int | None) -> Vectors:
        """Return a vector a text, or, windowed, one for each window of a text."""
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
