"""The tools that ask memory. They are messages to another service, so only their faces are here."""

from pydantic import Field

from archive_tool_runner.domain.tool import Arguments, ToolSpec

MAX_RESULT_CHARACTERS = 500  # of one hit, so that an observation leaves room for the next thought


class LibrarySearchArguments(Arguments):
    """What to look for in the documents."""

    query: str = Field(description="what to look for, in a few words", min_length=1, max_length=1000)
    top_k: int = Field(default=3, ge=1, le=10)


class MemorySearchArguments(Arguments):
    """What to look for in past conversations."""

    query: str = Field(description="what to look for, in a few words", min_length=1, max_length=1000)
    top_k: int = Field(default=3, ge=1, le=10)


LIBRARY_SEARCH = ToolSpec(
    name="library_search",
    description="Finds passages in the user's documents, with file name and page.",
    arguments=LibrarySearchArguments,
    advanced=True,
)

MEMORY_SEARCH = ToolSpec(
    name="memory_search",
    description="Finds what was said in earlier conversations.",
    arguments=MemorySearchArguments,
    advanced=True,
)
