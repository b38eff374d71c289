"""Chat completions and completions: the way of most requests, kept short."""

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from archive_bus import BusError
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_gateway.domain.errors import GatewayError
from archive_gateway.domain.faces import openai_error
from archive_gateway.domain.identity import is_id
from archive_gateway.routes.answers import PING_S, EventWire, send_whole
from archive_gateway.routes.asking import Conversation
from archive_gateway.routes.connection import while_connected
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.openai.chat_body import chat_requested, completion_requested
from archive_gateway.routes.visit import Visit


async def create_chat_completion(desk: Desk, visit: Visit) -> ASGIApp:
    """Answer a conversation."""
    return ChatAnswer(desk, visit, chat_requested(await visit.raw(), session=session_of(visit)))


async def create_completion(desk: Desk, visit: Visit) -> ASGIApp:
    """Continue a text."""
    return ChatAnswer(desk, visit, completion_requested(await visit.raw(), session=session_of(visit)))


def session_of(visit: Visit) -> str:
    """Return the conversation that a request belongs to, for whoever remembers."""
    named = visit.header(b"x-archive-session")
    return named if named and is_id(named) else "default"


class ChatAnswer:
    """The answer to a chat or completion request, as it comes.

    A client who leaves cancels the request: nothing is generated for nobody.
    """

    def __init__(self, desk: Desk, visit: Visit, request: ChatRequested) -> None:
        self._desk = desk
        self._visit = visit
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        timeout = self._desk.limits.request_s
        opened = self._desk.asking.open(self._request, to=CHAT_REQUESTS, origin=self._visit.origin, timeout=timeout)
        async with opened as conversation, while_connected(receive):
            if self._request.stream:
                await self._stream(conversation, send)
            else:
                await self._whole(conversation, send)

    async def _whole(self, conversation: Conversation, send: Send) -> None:
        while not isinstance(reply := await conversation.next(), ChatCompleted):
            pass
        conversation.ended = True
        if reply.body is None:
            raise BusError(f"engine {reply.engine} ended a request that did not stream without its response")
        total_ms = (time.perf_counter() - self._visit.ticket.began) * 1000
        headers = (
            (b"x-archive-engine", reply.engine.encode("latin-1", "replace")),
            (b"x-archive-overhead-ms", b"%.2f" % max(0.0, total_ms - reply.upstream_ms)),
        )
        await send_whole(send, reply.body.encode(), headers=headers)

    async def _stream(self, conversation: Conversation, send: Send) -> None:
        wire = EventWire(send, headers=((b"x-archive-stream", conversation.id.encode()),))
        try:
            await self._pass_on(conversation, wire)
        except (GatewayError, BusError) as error:
            if not wire.started:
                raise
            # Without [DONE]: clients take this for what it is, an answer that broke off.
            await wire.data(openai_error(error.problem()).decode())
        await wire.end()

    async def _pass_on(self, conversation: Conversation, wire: EventWire) -> None:
        while True:
            reply = await conversation.next(within=PING_S)
            if isinstance(reply, ChatDelta):
                await wire.data(reply.body)
            elif reply is None:
                await wire.ping()
            elif isinstance(reply, ChatCompleted):
                conversation.ended = True
                await wire.data("[DONE]")
                return
