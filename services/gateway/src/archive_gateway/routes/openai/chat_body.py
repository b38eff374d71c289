"""What the gateway reads of a chat or completion request: the head. The body travels on as it came."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from archive_contracts.chat import Capability, ChatRequested
from archive_gateway.domain.errors import BadRequest
from archive_gateway.routes.visit import parse


class _Head(BaseModel):
    model_config = ConfigDict(extra="ignore", json_schema_extra={"additionalProperties": True})


class ContentPart(_Head):
    """A part of a message: text, an image, sound."""

    type: str
    text: str = ""


class ChatMessage(_Head):
    """One message of a conversation."""

    role: str
    content: str | list[ContentPart] | None = None

    @property
    def text(self) -> str:
        """The text of the message, without what is not text."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""

    @property
    def shows_images(self) -> bool:
        """Whether a model has to see to answer."""
        return isinstance(self.content, list) and any("image" in part.type for part in self.content)


class ResponseFormat(_Head):
    """How the answer has to look."""

    type: str = "text"


class ChatHead(_Head):
    """A chat completion request. Fields that are not listed reach the engine untouched."""

    model: Annotated[str, Field(min_length=1, description="A model of `/v1/models`, or `auto`.")]
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None
    tools: list[JsonValue] | None = None
    functions: list[JsonValue] | None = None
    response_format: ResponseFormat | None = None
    store: Annotated[bool | None, Field(description="`false` keeps the exchange out of the memory.")] = None

    def needs(self) -> tuple[Capability, ...]:
        """Return what an engine has to be able to do."""
        return tuple(self._needs())

    def _needs(self) -> Iterator[Capability]:
        yield "chat"
        if self.tools or self.functions:
            yield "tools"
        if self.response_format and self.response_format.type == "json_schema":
            yield "json_schema"
        if any(message.shows_images for message in self.messages):
            yield "vision"

    def user_turn(self) -> str:
        """Return the last thing the user said."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")


class CompletionHead(_Head):
    """A text completion request. Fields that are not listed reach the engine untouched."""

    model: Annotated[str, Field(min_length=1, description="A model of `/v1/models`, or `auto`.")]
    prompt: str | list[str] | list[int] | list[list[int]] = ""
    stream: bool | None = None
    store: Annotated[bool | None, Field(description="`true` offers the exchange to the memory.")] = None

    def prompt_chars(self) -> int:
        """Return the characters of the prompt; a token counts as three."""
        if isinstance(self.prompt, str):
            return len(self.prompt)
        return sum(3 if isinstance(item, int) else len(item) for item in self.prompt)


Kind = Literal["chat", "completion"]


def chat_requested(raw: bytes, *, session: str) -> ChatRequested:
    """Read a chat request. Raises BadRequest."""
    head = parse(raw, ChatHead)
    return ChatRequested(
        body=text_of(raw),
        model=head.model,
        stream=bool(head.stream),
        needs=head.needs(),
        prompt_chars=sum(len(message.text) for message in head.messages),
        store=head.store is not False,
        user_turn=head.user_turn(),
        session=session,
    )


def completion_requested(raw: bytes, *, session: str) -> ChatRequested:
    """Read a completion request; what is completed is no talk, so it is remembered only when asked for."""
    head = parse(raw, CompletionHead)
    return ChatRequested(
        body=text_of(raw),
        model=head.model,
        kind="completion",
        stream=bool(head.stream),
        needs=("completion",),
        prompt_chars=head.prompt_chars(),
        store=bool(head.store),
        user_turn=head.prompt if isinstance(head.prompt, str) else "",
        session=session,
    )


def text_of(raw: bytes) -> str:
    """Return the body as text. Raises BadRequest when it is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadRequest("The body is not UTF-8.", code="invalid_json", next_step="Send JSON in UTF-8.") from None
