"""What the gateway reads of a chat or completion request: the head. The body travels on as it came."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from archive_contracts.chat import Capability, ChatRequested
from archive_gateway.domain.errors import BadRequest
from archive_gateway.domain.guardrails import Guardrails
from archive_gateway.routes.visit import parse


class Open(BaseModel):
    """A body of which only a part is read here."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"additionalProperties": True})


class ContentPart(Open):
    """A part of a message: text, an image, sound."""

    type: str
    text: str | None = None


class ChatMessage(Open):
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


class ResponseFormat(Open):
    """How the answer has to look."""

    type: str = "text"


class ToolFunction(Open):
    """A function that the model may call."""

    name: Annotated[str, Field(min_length=1)]


class Tool(Open):
    """Something that the model may call. A function has a name; what else a tool holds is the engine's matter."""

    type: str
    function: ToolFunction | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.type == "function" and self.function is None:
            raise ValueError("a tool of the type function needs the field function")
        return self


TOKEN_CHARS = 3
"""What a token counts for where characters are counted."""
Count = Annotated[int | None, Field(ge=0)]


class ChatHead(Open):
    """A chat completion request. Fields that are not listed reach the engine untouched."""

    model: Annotated[str, Field(min_length=1, description="A model of `/v1/models`, or `auto`.")]
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None
    n: Count = None
    max_tokens: Count = None
    max_completion_tokens: Count = None
    tools: list[Tool] | None = None
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


class CompletionHead(Open):
    """A text completion request. Fields that are not listed reach the engine untouched."""

    model: Annotated[str, Field(min_length=1, description="A model of `/v1/models`, or `auto`.")]
    prompt: str | list[str] | list[int] | list[list[int]] | None = None
    stream: bool | None = None
    n: Count = None
    max_tokens: Count = None
    best_of: Count = None
    store: Annotated[bool | None, Field(description="`true` offers the exchange to the memory.")] = None

    def prompts(self) -> int:
        """Return how many texts are to be continued."""
        if isinstance(self.prompt, list) and self.prompt and not isinstance(self.prompt[0], int):
            return len(self.prompt)
        return 1

    def prompt_chars(self) -> int:
        """Return the characters of the prompt, tokens as characters."""
        if isinstance(self.prompt, list):
            return sum(TOKEN_CHARS if isinstance(item, int) else _chars(item) for item in self.prompt)
        return len(self.prompt or "")


def _chars(prompt: str | list[int]) -> int:
    return len(prompt) if isinstance(prompt, str) else len(prompt) * TOKEN_CHARS


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it travels, and how much its answer may take: 0 tokens where it does not say."""

    request: ChatRequested
    answer_tokens: int
    choices: int


def chat_asked(raw: bytes, guardrails: Guardrails, *, session: str) -> Asked:
    """Read a chat request. Raises BadRequest, Guarded."""
    head = parse(raw, ChatHead)
    lengths = [len(message.text) for message in head.messages]
    guardrails.check_messages(len(lengths), max(lengths))
    request = ChatRequested(
        body=text_of(raw),
        model=head.model,
        stream=bool(head.stream),
        needs=head.needs(),
        prompt_chars=sum(lengths),
        store=head.store is not False,
        user_turn=head.user_turn(),
        session=session,
    )
    return _within(guardrails, request, head.max_completion_tokens or head.max_tokens or 0, head.n or 1)


def completion_asked(raw: bytes, guardrails: Guardrails, *, session: str) -> Asked:
    """Read a completion request; what is completed is no talk, so it is remembered only when asked for."""
    head = parse(raw, CompletionHead)
    request = ChatRequested(
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
    choices = max(head.n or 1, head.best_of or 1) * head.prompts()
    return _within(guardrails, request, head.max_tokens or 0, choices)


def _within(guardrails: Guardrails, request: ChatRequested, answer_tokens: int, choices: int) -> Asked:
    guardrails.check_sizes(prompt_chars=request.prompt_chars, answer_tokens=answer_tokens, choices=choices)
    return Asked(request, answer_tokens, choices)


def text_of(raw: bytes) -> str:
    """Return the body as text. Raises BadRequest when it is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadRequest("The body is not UTF-8.", code="invalid_json", next_step="Send JSON in UTF-8.") from None
