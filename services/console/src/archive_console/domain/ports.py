"""What routes need from outside; adapters implement it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from archive_console.domain.conversations import Conversation, Heading, Turn
from archive_contracts.conversations import DeleteConversation, RecordAnswer, RecordQuestion, RenameConversation

Change = RecordQuestion | RecordAnswer | RenameConversation | DeleteConversation


class Conversations(Protocol):
    """The conversations of all tenants."""

    async def apply(self, tenant: str, change: Change) -> bool:
        """Make a change; the same one again changes nothing. False: there is no such conversation any more."""
        ...

    async def headings(self, tenant: str, *, words: str = "", limit: int = 50, offset: int = 0) -> list[Heading]:
        """Return conversations, the latest first; with ``words`` those that hold all of them."""
        ...

    async def get(self, tenant: str, conversation_id: str) -> Conversation | None:
        """Return a conversation."""
        ...

    async def turn(self, tenant: str, turn_id: str) -> tuple[str, Turn] | None:
        """Return a turn and the id of its conversation."""
        ...

    async def running(self) -> Sequence[tuple[str, str, Turn]]:
        """Return (tenant, conversation, turn) of all turns whose answer has not ended."""
        ...


@dataclass(frozen=True, slots=True)
class Download:
    """The job that fetches what an address of the web names."""

    job: str
    url: str


class Downloads(Protocol):
    """Downloads whose end nobody has seen."""

    async def add(self, tenant: str, download: Download) -> None:
        """Remember one."""
        ...

    async def listed(self, tenant: str) -> Sequence[Download]:
        """Return the latest, the newest first."""
        ...

    async def drop(self, tenant: str, job: str) -> None:
        """Forget one; one that is not there is no error."""
        ...


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page, in parts of its width and height, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class PageImage:
    """A page as a picture. ``boxes`` are where the wanted sentence stands."""

    png: bytes
    width: int
    height: int


class Pages(Protocol):
    """Pages of PDF documents as pictures."""

    async def picture(self, blob: str, page: int, *, width: int) -> PageImage:
        """Return a page, counted from 1, ``width`` pixels wide. Raises NotThere, BlobError."""
        ...

    async def boxes(self, blob: str, page: int, sentence: str) -> tuple[tuple[float, float], tuple[Box, ...]]:
        """Return the size of a page in points, and where a sentence stands on it; nowhere when it is not found."""
        ...
