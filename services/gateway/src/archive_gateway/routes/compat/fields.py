"""Fields that several of the original's requests and answers share."""

from typing import Annotated

from pydantic import AfterValidator, Field

from archive_contracts.base import Problem


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


Spoken = Annotated[str, AfterValidator(_says_something), Field(min_length=1)]
"""Text that is more than white space."""


def in_words(problem: Problem | None) -> str | None:
    """Return a problem as the one text that the original's clients show."""
    return f"{problem.message} {problem.next_step}".rstrip() if problem else None
