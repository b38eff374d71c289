"""Directed messages: every process hears them, the one concerned acts."""

from typing import ClassVar

from archive_contracts.base import Message


class CancelRequested(Message):
    """Stop working on something: a request, a job or a run, by its id."""

    type: ClassVar[str] = "cancel.requested.v1"
    target: str
    reason: str = ""
