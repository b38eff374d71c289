"""Jobs for engine workers, and how workers announce themselves."""

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archive_contracts.base import Message, Model, Problem
from archive_contracts.chat import Capability, ChatRequested

Tier = Literal["fast", "balanced", "powerful", "expert"]


class Target(Model):
    """A lane and the model to ask for there."""

    pool: str
    model: str
    worker: Annotated[str, Field(description="One worker of the pool, asked on a lane of its own; empty: any.")] = ""
    instance: Annotated[str, Field(description="The server behind that worker, as it announces it.")] = ""


class Parameters(Model):
    """Sampling parameters that a profile brings, for those the client left out."""

    max_tokens: Annotated[int | None, Field(gt=0)] = None
    temperature: Annotated[float | None, Field(ge=0)] = None


class Resumption(Model):
    """The part of a streamed answer that other engines wrote before they failed."""

    text: str
    completion_tokens: int = 0
    head: Annotated[str, Field(description="The first chunk, whose id and creation time the rest repeats.")] = ""
    told: Annotated[int, Field(description="Replies that were sent, behind which the rest goes on.", ge=0)] = 0


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
    tried: Annotated[tuple[str, ...], Field(description="Instances that failed this request already.")] = ()
    calls: Annotated[int, Field(description="Calls to engines so far.", ge=0)] = 0
    worker: Annotated[str, Field(description="The worker it was directed to; empty when any may take it.")] = ""
    directed_until: Annotated[
        int, Field(description="Milliseconds since the epoch until which the worker's slot is waited for.")
    ] = 0
    refused: Annotated[Problem | None, Field(description="That an engine was too busy, for when no other can.")] = None
    parameters: Parameters | None = None
    resumption: Resumption | None = None


class EmbedRequested(Message):
    """Texts to be turned into vectors by an embedding lane."""

    type: ClassVar[str] = "engine.embed.v1"
    texts: tuple[str, ...]
    tokens: Annotated[
        tuple[tuple[int, ...], ...], Field(description="In place of texts: arrays of the model's own tokens.")
    ] = ()
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
    upstream_ms: Annotated[float, Field(description="Time spent in the engine.", ge=0)] = 0.0
    headers: Annotated[tuple[tuple[str, str], ...], Field(description="The engine's own, for the caller.")] = ()


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
    instance: Annotated[str, Field(description="The server: workers of one instance fail together.")] = ""
    tier: Tier = "balanced"
    tags: tuple[str, ...] = ()
    cost_in: Annotated[float, Field(description="Price of a million prompt tokens.", ge=0)] = 0.0
    cost_out: Annotated[float, Field(description="Price of a million completion tokens.", ge=0)] = 0.0
    requests_per_minute: Annotated[int, Field(description="0: no limit.", ge=0)] = 0
    tokens_per_minute: Annotated[int, Field(description="0: no limit.", ge=0)] = 0
    waiting: Annotated[int, Field(description="Jobs of the pool's lane that nobody has taken.", ge=0)] = 0
    served: Annotated[int, Field(description="Jobs ended since the worker's start.", ge=0)] = 0
    failed: Annotated[int, Field(description="Those of them that failed through no fault of the client.", ge=0)] = 0
    written: Annotated[int, Field(description="Tokens of answers since the worker's start.", ge=0)] = 0
    service_s: Annotated[float, Field(description="Moving average of the time a job holds its slot.", ge=0)] = 0.0
    ttft_s: Annotated[float, Field(description="Moving average of the time to the first token.", ge=0)] = 0.0
    error_rate: Annotated[float, Field(description="Moving average of failed calls.", ge=0, le=1)] = 0.0
    cooling_s: Annotated[float, Field(description="Seconds for which it takes no requests.", ge=0)] = 0.0
    directed: Annotated[bool, Field(description="It reads a lane of its own beside the pool's.")] = False
    hosts: Annotated[bool, Field(description="Its process also runs workers of engines that were added.")] = False


class EngineLeft(Message):
    """An engine worker drained and stopped."""

    type: ClassVar[str] = "engine.left.v1"
    worker: str
    pool: str


class LaneDeserted(Message):
    """The last worker of a pool is gone, and the pool may not sleep: what lies on its lane has to be told or moved."""

    type: ClassVar[str] = "engine.deserted.v1"
    pool: str


class EngineSpec(Model):
    """An OpenAI-compatible server that has no worker beside it, so that a host of workers runs one.

    The key itself never travels: ``api_key_env`` names a variable of the host, ``api_key_file`` a file in its folder of
    keys.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
    base_url: Annotated[str, Field(pattern=r"^https?://")]
    pool: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
    model: Annotated[str, Field(description="The only model to offer; empty offers all.")] = ""
    tier: Tier = "balanced"
    tags: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    context: Annotated[int, Field(description="Tokens; 0 asks the server.", ge=0)] = 0
    cost_in: Annotated[float, Field(description="Price of a million prompt tokens.", ge=0)] = 0.0
    cost_out: Annotated[float, Field(description="Price of a million completion tokens.", ge=0)] = 0.0
    slots: Annotated[int, Field(description="Requests at once; 0 asks the server.", ge=0)] = 0
    requests_per_minute: Annotated[int, Field(ge=0)] = 0
    tokens_per_minute: Annotated[int, Field(ge=0)] = 0
    stream_upstream: bool = False
    api_key_env: str = ""
    api_key_file: str = ""


class RegisterEngine(Message):
    """Serve this engine from now on, in place of one with its name."""

    type: ClassVar[str] = "engine.register.v1"
    engine: EngineSpec


class RemoveEngine(Message):
    """Serve this engine no longer; what runs is finished."""

    type: ClassVar[str] = "engine.remove.v1"
    name: str


EVERY_ENGINE = "all"
"""The one journal of all engines that were added by API."""


class EngineRegistry:
    """The fold of that journal: what should run now."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._specs: dict[str, EngineSpec] = {}
        for message in messages:
            self.hear(message)

    def hear(self, message: Message) -> bool:
        """Take in an entry of the journal. True: something has to start or stop."""
        before = dict(self._specs)
        if isinstance(message, RegisterEngine):
            self._specs[message.engine.name] = message.engine
        elif isinstance(message, RemoveEngine):
            self._specs.pop(message.name, None)
        return before != self._specs

    @property
    def specs(self) -> Mapping[str, EngineSpec]:
        """The engines by name."""
        return self._specs
