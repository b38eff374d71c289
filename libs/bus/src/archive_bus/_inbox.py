"""Effects once: a message that comes again finds that it was handled.

In Redis the bus does it by itself, see ``Bus.subscribe``. A service whose effects lie in a database of its own keeps
its inbox there and uses ``once`` inside the transaction that holds the effect: then both are there or neither.
"""

from collections.abc import Callable
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from archive_bus._transport import Acked, Lane

R = TypeVar("R")


class Inbox(Protocol[R]):
    """What a service has handled, kept in the transaction that it is opened on."""

    def earlier(self, message_id: str) -> R | None:
        """Return what a message led to when it came before, None for a new one."""
        ...

    def record(self, message_id: str, result: R) -> None:
        """Note that a message was handled and what it led to."""
        ...


def once(inbox: Inbox[R], message_id: str, effect: Callable[[], R]) -> R:
    """Have an effect unless the message had it before; return its result, or that of the first time.

    with database.transaction() as transaction:
        return once(Inbox(transaction), delivery.envelope.id, lambda: store(transaction, delivery.message))
    """
    earlier = inbox.earlier(message_id)
    if earlier is not None:
        return earlier
    result = effect()
    inbox.record(message_id, result)
    return result


class Turn(IntEnum):
    """Whether an entry may have its effect."""

    NOW = 1
    DONE = 0
    """Another entry of its message had it."""
    LATER = 2
    """Another entry of its message is being handled."""
    LOST = -1
    """Another consumer has the entry."""


class Inboxes(Protocol):
    """Inbox keys beside a stream, one for each group and message id."""

    async def begin(self, lane: "Lane", entry_id: str, message_id: str, *, window: timedelta) -> Turn:
        """Reserve a message for one of its entries, as long as that is pending."""
        ...

    async def settle(self, lane: "Lane", entry_id: str, message_id: str, *, window: timedelta) -> "Acked":
        """Acknowledge an entry that is still owned, and in the same step note its message as handled."""
        ...
