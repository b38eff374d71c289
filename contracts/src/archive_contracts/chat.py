"""Chat and completion requests, and what comes back.

A request passes through several services; its ``body`` is the JSON the client sent and is never decoded and encoded
again on the way, so that fields nobody here knows survive. The head beside it holds what the hops decide by.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archive_contracts.base import Message, Model

Priority = Literal["interactive", "batch"]
Capability = Literal["chat", "completion", "embedding", "tools", "json_schema", "vision", "rerank"]
Kind = Literal["chat", "completion", "rerank"]


class ChatRequested(Message):
    """Somebody wants a chat answer or a text completion."""

    type: ClassVar[str] = "chat.requested.v1"
    body: Annotated[str, Field(description="The request as the client sent it: opaque JSON.")]
    model: str
    kind: Annotated[Kind, Field(description="Which endpoint of an engine the body is for.")] = "chat"
    stream: bool = False
    needs: tuple[Capability, ...] = ("chat",)
    prompt_chars: Annotated[int, Field(ge=0)] = 0
    priority: Priority = "interactive"
    store: Annotated[bool, Field(description="False keeps the exchange out of chat.events.")] = True
    user_turn: Annotated[str, Field(description="The last user message as text, for whoever remembers.")] = ""
    session: str = "default"
    continuation: Annotated[
        bool,
        Field(description="When an engine fails in the middle of a streamed answer, another one may write the rest."),
    ] = False


class Usage(Model):
    """Tokens as the engine counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ChatDelta(Message):
    """One chunk of a streamed answer, as the engine sent it."""

    type: ClassVar[str] = "chat.delta.v1"
    body: Annotated[str, Field(description="An OpenAI chunk object: opaque JSON.")]
    engine: Annotated[str, Field(description="Who answers; in the first chunk only.")] = ""
    headers: Annotated[
        tuple[tuple[str, str], ...], Field(description="The engine's own, for the caller; in the first chunk only.")
    ] = ()
    upstream_ms: Annotated[
        float | None, Field(description="Time until the engine sent it; in the first chunk only.", ge=0)
    ] = None


class ChatCompleted(Message):
    """The answer is complete. Ends the reply, and goes to ``chat.events`` unless the request said otherwise."""

    type: ClassVar[str] = "chat.completed.v1"
    engine: str
    pool: str
    model: str
    text: str = ""
    finish_reason: str = "stop"
    usage: Usage = Usage()
    body: Annotated[str | None, Field(description="The whole response of a request that did not stream.")] = None
    user_turn: str = ""
    session: str = "default"
    upstream_ms: Annotated[float, Field(description="Time spent in the engine.", ge=0)] = 0.0
    ttft_ms: Annotated[float | None, Field(description="Time to the engine's first token.", ge=0)] = None
    attempts: Annotated[int, Field(description="Calls to engines that it took.", ge=1)] = 1
    headers: Annotated[
        tuple[tuple[str, str], ...],
        Field(description="The engine's own, for the caller of a request that did not stream."),
    ] = ()
