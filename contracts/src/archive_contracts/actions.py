"""What operators did by hand: every write of theirs, with who and why."""

from typing import Annotated, ClassVar

from pydantic import Field

from archive_contracts.base import Message


class ActionTaken(Message):
    """An operator changed something."""

    type: ClassVar[str] = "operator.action-taken.v1"
    actor: Annotated[str, Field(description="The key that they came in with; 'anybody' where no key is needed.")]
    what: Annotated[str, Field(description="Such as 'replayed dead letters'.")]
    subjects: Annotated[tuple[str, ...], Field(description="Ids of what was changed.")] = ()
    reason: str = ""
    taken_at: Annotated[float, Field(description="Seconds since the epoch.")]
