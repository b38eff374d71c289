"""Fields that several of the original's requests share."""

from typing import Annotated

from pydantic import AfterValidator, Field


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


Spoken = Annotated[str, AfterValidator(_says_something), Field(min_length=1)]
"""Text that is more than white space."""
