"""Conversations: what was said is remembered, found and forgotten."""

import logging
import time

from archive_bus import BusError, BusUnavailable, Delivery, Retry
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted
from archive_contracts.memory import (
    ForgetMemory,
    ForgetSession,
    GetMemory,
    ListMemories,
    MemoriesFound,
    MemoryForgotten,
    MemoryStored,
    RecallMemories,
    SessionForgotten,
)
from archive_contracts.streams import CHAT_EVENTS, MEMORY_EVENTS
from archive_memory.domain.catalogue import NewTurn
from archive_memory.domain.port import Conversations
from archive_memory.domain.windows import WindowVectors
from archive_memory.handlers.embedding import Embedder, is_final

log = logging.getLogger(__name__)

PAUSE_S = 10.0
"""Between two attempts to have an exchange embedded; the stream's attempts end the waiting after a minute or two."""


class Turns:
    """Keeps the turns of conversations."""

    def __init__(self, conversations: Conversations, embedder: Embedder) -> None:
        self._conversations = conversations
        self._embedder = embedder

    async def remember(self, delivery: Delivery[ChatCompleted]) -> None:
        """Store an exchange: what the user said and what was answered."""
        event, now = delivery.message, time.time()
        said = [
            NewTurn(role, text, session=event.session, created_at=now)
            for role, text in (("user", event.user_turn), ("assistant", event.text))
            if text.strip()
        ]
        if not said:
            return
        vectors = await self._vectors(delivery, said)
        stored = await self._conversations.remember_turns(delivery.envelope.tenant, delivery.envelope.id, said, vectors)
        for item in stored:
            await delivery.publish(MemoryStored(memory_id=item.id, session=item.session), to=MEMORY_EVENTS)

    async def _vectors(self, delivery: Delivery[ChatCompleted], said: list[NewTurn]) -> WindowVectors | None:
        """Return the vectors of what was said, or None where they cannot be had.

        An exchange that waits for an engine waits on its stream: in a slot it would keep others from being remembered.
        """
        try:
            return await self._embedder.turns(delivery, [turn.text for turn in said])
        except BusUnavailable:
            raise
        except BusError as error:
            if delivery.attempt < CHAT_EVENTS.attempts and not is_final(error):
                raise Retry(str(error), delay_s=PAUSE_S) from error
            log.warning("an exchange is remembered by its words alone: %s", error)
            return None

    async def recall(self, delivery: Delivery[RecallMemories]) -> None:
        """Answer with the turns nearest to a query."""
        query = delivery.message
        vector = await self._embedder.query(delivery, query.query)
        items = await self._conversations.recall(
            delivery.envelope.tenant, query.query, vector, top_k=query.top_k, session=query.session
        )
        await delivery.reply(MemoriesFound(items=tuple(items), total=len(items)))

    async def page(self, delivery: Delivery[ListMemories]) -> None:
        """Answer with a page of turns."""
        query = delivery.message
        items, total = await self._conversations.list_turns(delivery.envelope.tenant, query.limit, query.offset)
        await delivery.reply(MemoriesFound(items=tuple(items), total=total))

    async def get(self, delivery: Delivery[GetMemory]) -> None:
        """Answer with one turn."""
        item = await self._conversations.get_turn(delivery.envelope.tenant, delivery.message.memory_id)
        if item is None:
            await delivery.fail(_no_memory(delivery.message.memory_id))
        else:
            await delivery.reply(MemoriesFound(items=(item,), total=1))

    async def forget(self, delivery: Delivery[ForgetMemory]) -> None:
        """Remove one turn."""
        memory_id = delivery.message.memory_id
        if await self._conversations.forget_turn(delivery.envelope.tenant, delivery.envelope.id, memory_id):
            gone = MemoryForgotten(memory_id=memory_id)
            await delivery.publish(gone, to=MEMORY_EVENTS)
            await delivery.reply(gone)
        else:
            await delivery.fail(_no_memory(memory_id))

    async def forget_session(self, delivery: Delivery[ForgetSession]) -> None:
        """Remove all turns of a session; one that has none is as forgotten as it can be."""
        session = delivery.message.session
        gone = SessionForgotten(session=session)
        if await self._conversations.forget_session(delivery.envelope.tenant, delivery.envelope.id, session):
            await delivery.publish(gone, to=MEMORY_EVENTS)
        await delivery.reply(gone)


def _no_memory(memory_id: str) -> Problem:
    return Problem(
        code="memory_not_found",
        message=f"There is no memory {memory_id!r}.",
        next_step="List them with GET /memories/.",
        status=404,
    )
