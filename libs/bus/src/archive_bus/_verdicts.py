"""What callers are told about messages that ended without an answer, and when a failed one runs again."""

import random

from archive_bus._errors import DeadlineExpired
from archive_contracts.base import Problem

EXPIRED = DeadlineExpired("The request waited past its deadline and was not started.").problem()

FATAL = Problem(
    code="internal_error",
    message="The request took down every process that tried it.",
    next_step="See 'archive dead list' for the message and the log of the service for the cause.",
    status=500,
)


def failure(error: Exception) -> Problem:
    """Return what the caller of a message hears whose handler failed for good."""
    return Problem(
        code="internal_error",
        message=f"The request failed: {type(error).__name__}.",
        next_step="See 'archive dead list' and the log of the service for the cause.",
        status=500,
    )


def backoff(attempt: int, *, first_s: float = 0.2, most_s: float = 30.0) -> float:
    """Return seconds to wait after the attempt: exponential with full jitter above a half."""
    return min(most_s, first_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
