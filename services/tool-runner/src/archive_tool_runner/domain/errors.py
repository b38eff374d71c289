"""What can go wrong with a tool call.

    ToolError
    ├── ToolUnknown            no tool of that name
    ├── ToolArgumentsInvalid   the arguments do not match the tool's schema
    └── ToolFailed             the tool ran and could not answer
        └── ExpressionInvalid  a calculator expression that does not parse or must not be computed

An agent shows `str(error)` to its model as the observation, so every text says what happened and what to do next.
"""

from collections.abc import Sequence


class ToolError(Exception):
    """Base of everything a tool call may raise: a stable `code`, what happened, what to do."""

    code = "tool_error"

    def __init__(self, message: str, *, next_step: str) -> None:
        super().__init__(f"{message} {next_step}".strip())
        self.message = message
        self.next_step = next_step


class ToolUnknown(ToolError):
    """No registered tool has this name."""

    code = "tool_unknown"

    def __init__(self, name: str, *, known: Sequence[str]) -> None:
        super().__init__(f"There is no tool named {name[:60]!r}.", next_step=f"Use one of: {', '.join(known)}.")


class ToolArgumentsInvalid(ToolError):
    """The arguments are no JSON object of the shape that the tool's schema describes."""

    code = "tool_arguments_invalid"

    def __init__(self, tool: str, *, wrong: str, expected: str) -> None:
        super().__init__(f"Invalid arguments for {tool}: {wrong}.", next_step=f"Expected {expected}.")


class ToolFailed(ToolError):
    """The call was well-formed, and the tool could not answer it."""

    code = "tool_failed"


class ExpressionInvalid(ToolFailed):
    """A calculator expression was refused; `column` counts from 1, None where no single place is to blame."""

    code = "expression_invalid"

    def __init__(self, message: str, *, next_step: str, column: int | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.column = column
