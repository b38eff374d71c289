"""What every message is: a frozen model with a versioned type."""

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
        """Return the message as UTF-8 JSON, absent optional fields left out."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class Problem(Model):
    """Why something failed, for the person or program that has to act on it."""

    code: Annotated[str, Field(description="Stable, machine-readable: snake_case.")]
    message: str
    next_step: Annotated[str, Field(description="What the reader can do about it.")] = ""
    status: Annotated[int, Field(description="The HTTP status that says the same.", ge=400, le=599)] = 500
    param: Annotated[str | None, Field(description="The request field at fault.")] = None
    retry_after_s: Annotated[float | None, Field(ge=0)] = None


class Failed(Message):
    """The reply to a request that cannot be answered."""

    type: ClassVar[str] = "failed.v1"
    problem: Problem
