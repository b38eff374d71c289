"""Jobs for engine workers, and how workers announce themselves."""

from typing import Annotated, ClassVar

from pydantic import Field

from archive_contracts.base import Message, Model
from archive_contracts.chat import Capability, ChatRequested


class Target(Model):
    """A lane and the model to ask for there."""

    pool: str
    model: str


class GenerateRequested(Message):
    """A chat or completion, decided: this lane serves it."""

    type: ClassVar[str] = "engine.generate.v1"
    request: ChatRequested
    request_id: Annotated[str, Field(description="Id of the ChatRequested message: what a caller cancels.")]
    pool: str
    model: Annotated[str, Field(description="The name the engine knows its model by.")]
    fallbacks: Annotated[
        tuple[Target, ...], Field(description="Where to go next if this lane fails before the first token.")
    ] = ()
    tried: Annotated[tuple[str, ...], Field(description="Engines that failed this request already.")] = ()


class EmbedRequested(Message):
    """Texts to be turned into vectors by an embedding lane."""

    type: ClassVar[str] = "engine.embed.v1"
    texts: tuple[str, ...]
    model: str = ""
    windowed: Annotated[
        bool, Field(description="True: a text longer than the model's window gets a vector for each window.")
    ] = False
    dimensions: Annotated[int | None, Field(gt=0)] = None


class Embedded(Message):
    """The vectors of an EmbedRequested, in the order of its texts."""

    type: ClassVar[str] = "engine.embedded.v1"
    model: Annotated[str, Field(description="Identity of the model; vectors of different models do not mix.")]
    dim: int
    vectors: Annotated[str, Field(description="base64 of little-endian float32, shape (sum of counts, dim).")]
    counts: Annotated[tuple[int, ...], Field(description="Vectors of each text; 1 unless windowed.")]
    tokens: int = 0
    engine: str = ""


class ModelCard(Model):
    """A model that an engine serves."""

    id: str
    context: Annotated[int, Field(description="Tokens of prompt and answer together; 0 when unknown.")] = 0
    owned_by: str = "archive-ai"


class EngineRegistered(Message):
    """An engine worker lives: repeated as a heartbeat, forgotten when it stops coming."""

    type: ClassVar[str] = "engine.registered.v1"
    worker: Annotated[str, Field(description="This worker process.")]
    engine: Annotated[str, Field(description="The engine's name for people, such as 'bundled'.")]
    pool: str
    models: tuple[ModelCard, ...]
    capabilities: tuple[Capability, ...]
    slots: Annotated[int, Field(description="Requests it serves at once.", ge=1)]
    busy: Annotated[int, Field(description="Slots in use.", ge=0)] = 0
    healthy: bool = True
    problem: str = ""
    base_url: str = ""
    heartbeat_s: Annotated[float, Field(description="How often this is repeated.", gt=0)] = 2.0


class EngineLeft(Message):
    """An engine worker drained and stopped."""

    type: ClassVar[str] = "engine.left.v1"
    worker: str
    pool: str
