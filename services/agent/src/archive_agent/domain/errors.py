"""What can keep the agent from starting or from ending by itself.

AgentError
└── QuestionTooLong   the question alone does not fit the engine's context
"""

from archive_contracts.base import Problem

CANCELLED = Problem(
    code="cancelled", message="The run was cancelled.", next_step="Ask again to start over.", status=409
)


class AgentError(Exception):
    """Base: a stable `code`, what happened, what to do."""

    code = "agent_error"

    def __init__(self, message: str, *, next_step: str) -> None:
        super().__init__(f"{message} {next_step}")
        self.message = message
        self.next_step = next_step


class QuestionTooLong(AgentError):
    """The question and the instructions leave no room for evidence and answer."""

    code = "question_too_long"

    def __init__(self, tokens: int, *, room: int) -> None:
        super().__init__(
            f"The question takes {tokens} tokens, and this engine has room for {max(0, room)}.",
            next_step="Shorten the question, or use an engine with a larger context.",
        )
