"""What every message is: a frozen model with a versioned type."""

import json
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """A frozen value inside a message. Fields unknown to this version are ignored on read."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Message(Model):
    """A command (imperative name) or an event (past tense) that travels on a stream.

    ``type`` names the message and its major version on the wire, ``document.ingested.v1``. A message may only
    grow by optional fields; anything else is a new version with a pure upcaster beside it.
    """

    type: ClassVar[str]

    def to_json(self) -> bytes:
        """Return the message as UTF-8 JSON, absent optional fields left out.

        Half of a character, which JSON from outside can spell and UTF-8 cannot, is replaced: a message that could not
        be sent would take its sender with it.
        """
        try:
            return self.__pydantic_serializer__.to_json(self, exclude_none=True)
        except ValueError:
            fields = self.model_dump(mode="json", exclude_none=True)
            return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")


class Spent(Model):
    """What an answer that was cut short had used of its engine by then."""

    engine: str
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: Annotated[bool, Field(description="Counted from what passed by: the engine did not live to say.")] = True


class Problem(Model):
    """Why something failed, for the person or program that has to act on it."""

    code: Annotated[str, Field(description="Stable, machine-readable: snake_case.")]
    message: str
    next_step: Annotated[str, Field(description="What the reader can do about it.")] = ""
    status: Annotated[int, Field(description="The HTTP status that says the same.", ge=400, le=599)] = 500
    param: Annotated[str | None, Field(description="The request field at fault.")] = None
    retry_after_s: Annotated[float | None, Field(ge=0)] = None
    engine: Annotated[str, Field(description="The engine that failed, for people; empty when none was asked.")] = ""
    spent: Annotated[Spent | None, Field(description="Tokens of the part that was delivered before it failed.")] = None
    upstream_ms: Annotated[float, Field(description="Time spent in the engine that failed.", ge=0)] = 0.0


class Failed(Message):
    """The reply to a request that cannot be answered."""

    type: ClassVar[str] = "failed.v1"
    problem: Problem
