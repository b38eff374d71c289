"""Changes to conversations come in; what they did goes back to whoever waits."""

from typing import Any

from archive_bus import Delivery
from archive_console.domain.ports import Conversations
from archive_contracts.base import Problem
from archive_contracts.conversations import ConversationSaved

GONE = Problem(
    code="conversation_not_found",
    message="There is no such conversation any more.",
    next_step="Start a new one.",
    status=404,
)


class Keeper:
    """Keeps conversations."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations

    async def keep(self, delivery: Delivery[Any]) -> None:
        """Make one change durable, then say so."""
        if await self._conversations.apply(delivery.envelope.tenant, delivery.message):
            await delivery.reply(ConversationSaved(conversation_id=delivery.message.conversation_id))
        else:
            await delivery.fail(GONE)
