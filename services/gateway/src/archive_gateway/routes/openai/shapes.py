"""What OpenAI's clients read, for the OpenAPI document: bodies pass through untouched and may hold more."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from archive_contracts.chat import Usage


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class AssistantMessage(_Open):
    """The answer's message."""

    role: str
    content: str | None = None


class ChatChoice(_Open):
    """One of the answers."""

    index: int
    message: AssistantMessage
    finish_reason: str | None = None


class ChatCompletion(_Open):
    """A whole answer, as the engine gave it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage | None = None


class ChunkChoice(_Open):
    """What is new in one of the answers."""

    index: int
    delta: dict[str, JsonValue]
    finish_reason: str | None = None


class ChatCompletionChunk(_Open):
    """A piece of a streamed answer. The last event is the text `[DONE]`; a stream that breaks ends with an error."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]


class TextChoice(_Open):
    """One of the continuations."""

    index: int
    text: str
    finish_reason: str | None = None


class Completion(_Open):
    """A completion, or a piece of a streamed one, as the engine gave it."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None


class OpenAIErrorDetail(BaseModel):
    """What went wrong and what to do."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """OpenAI's error envelope."""

    error: OpenAIErrorDetail
