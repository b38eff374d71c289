"""Doors for foreign publishers: each has a stream and a user of its own, a tenant, and the types it may send."""

from typing import Annotated, ClassVar

from pydantic import Field

from archive_contracts.base import Message

LIST = "all"
"""The entity of the one journal of all doors."""


class IngressCreated(Message):
    """A foreign publisher may write to ``ingress.<name>``. Said again, it takes the place of what was said."""

    type: ClassVar[str] = "ingress.created.v1"
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    tenant: Annotated[str, Field(description="Whose everything is that comes in, whatever an envelope says.")]
    types: Annotated[tuple[str, ...], Field(description="Types of messages that are let in.", min_length=1)]
    created_at: int


class IngressRemoved(Message):
    """Nobody reads ``ingress.<name>`` any more."""

    type: ClassVar[str] = "ingress.removed.v1"
    name: str
    removed_at: int


IngressEvent = IngressCreated | IngressRemoved
