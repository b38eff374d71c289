"""Tools: how runners announce them and how they are run."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archive_contracts.base import Message, Model

Effect = Literal["pure", "idempotent", "once"]


class ToolSpec(Model):
    """What a caller needs to know of a tool."""

    name: str
    description: str
    parameters: Annotated[str, Field(description="JSON Schema of the arguments object, as JSON.")]
    effect: Effect = "pure"
    advanced: Annotated[bool, Field(description="Reaches beyond its arguments: memory, library.")] = False


class ToolsRegistered(Message):
    """A tool runner lives and offers these; repeated as a heartbeat."""

    type: ClassVar[str] = "tools.registered.v1"
    runner: str
    tools: tuple[ToolSpec, ...]
    heartbeat_s: Annotated[float, Field(gt=0)] = 5.0


class ToolRunnerLeft(Message):
    """A tool runner drained and stopped."""

    type: ClassVar[str] = "tools.left.v1"
    runner: str


class RunTool(Message):
    """Run one tool. ``call`` identifies the call within all runs, so that an effect happens once."""

    type: ClassVar[str] = "tool.run.v1"
    call: str
    tool: str
    arguments: Annotated[str, Field(description="The arguments object as JSON.")]


class ToolCompleted(Message):
    """What a tool returned, or why it could not."""

    type: ClassVar[str] = "tool.completed.v1"
    call: str
    tool: str
    ok: bool
    result: str
