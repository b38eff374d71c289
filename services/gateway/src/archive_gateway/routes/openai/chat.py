"""Chat completions and completions: the way of most requests, kept short."""

import secrets
from dataclasses import replace

from starlette.types import ASGIApp, Receive, Scope, Send

from archive_bus import BusError
from archive_contracts.chat import ChatCompleted, ChatDelta
from archive_contracts.streams import CHAT_REQUESTS
from archive_gateway.domain.errors import GatewayError
from archive_gateway.domain.faces import openai_error
from archive_gateway.domain.identity import is_id
from archive_gateway.domain.ports import Patron
from archive_gateway.routes.answers import PING_S, EventWire, send_whole
from archive_gateway.routes.asking import Conversation, Leave
from archive_gateway.routes.connection import while_connected
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.headers import answer_headers, stream_headers
from archive_gateway.routes.metering import ANSWER_TOKENS, Demand, Meter
from archive_gateway.routes.openai.chat_body import Asked, chat_asked, completion_asked
from archive_gateway.routes.openai.streams import NOTE_S, Presence, mark_of, resumed
from archive_gateway.routes.visit import Visit


async def create_chat_completion(desk: Desk, visit: Visit) -> ASGIApp:
    """Answer a conversation, or go on with the answer that ``Last-Event-ID`` names."""
    if mark := mark_of(visit):
        return await resumed(desk, visit, *mark)
    asked = chat_asked(await visit.raw(), desk.metering.guardrails, session=session_of(visit))
    return ChatAnswer(desk, visit, _as_wished(visit, asked))


async def create_completion(desk: Desk, visit: Visit) -> ASGIApp:
    """Continue a text, or go on with the stream that ``Last-Event-ID`` names."""
    if mark := mark_of(visit):
        return await resumed(desk, visit, *mark)
    asked = completion_asked(await visit.raw(), desk.metering.guardrails, session=session_of(visit))
    return ChatAnswer(desk, visit, _as_wished(visit, asked))


def _as_wished(visit: Visit, asked: Asked) -> Asked:
    """Return the request with what its headers say of how it may be served."""
    headers, wishes = visit.ticket.headers, dict[str, object]()
    if headers.get(b"x-archive-continue") == b"1":
        wishes["continuation"] = True
    if headers.get(b"x-archive-priority") == b"batch":
        wishes["priority"] = "batch"
    return replace(asked, request=asked.request.model_copy(update=wishes)) if wishes else asked


def session_of(visit: Visit) -> str:
    """Return the conversation that a request belongs to, for whoever remembers."""
    named = visit.header(b"x-archive-session")
    return named if named and is_id(named) else "default"


class ChatAnswer:
    """The answer to a chat or completion request, as it comes.

    A client who leaves cancels the request, and nothing is generated for nobody; unless it has said that it may come
    back for the rest of a stream.
    """

    def __init__(self, desk: Desk, visit: Visit, asked: Asked) -> None:
        self._desk = desk
        self._visit = visit
        self._asked = asked
        self._presence: Presence | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, desk, visit = self._asked.request, self._desk, self._visit
        demand = Demand(
            model=request.model,
            prompt_chars=request.prompt_chars,
            answer_tokens=(self._asked.answer_tokens or ANSWER_TOKENS) * self._asked.choices,
            timeout_s=desk.limits.request_s,
        )
        stream = secrets.token_hex(16) if request.stream else ""
        origin = replace(visit.origin, log=stream) if stream else visit.origin
        async with desk.metering.admitted(visit.ticket, demand) as meter:
            leave = self._attend(stream, demand, meter) if stream and visit.header(b"x-archive-resume") == "1" else None
            opened = desk.asking.open(request, to=CHAT_REQUESTS, origin=origin, timeout=demand.timeout_s, leave=leave)
            async with opened as conversation, while_connected(scope):
                if stream:
                    await self._stream(conversation, meter, send)
                else:
                    await self._whole(conversation, meter, send)

    def _attend(self, stream: str, demand: Demand, meter: Meter) -> Leave:
        caller = self._visit.ticket.caller
        patron = Patron(key=caller.key, model=demand.model, prompt_chars=demand.prompt_chars)
        self._presence = Presence(self._desk, stream, tenant=caller.tenant, patron=patron)
        meter.handed_on = True
        return self._presence.leave

    async def _whole(self, conversation: Conversation, meter: Meter, send: Send) -> None:
        while not isinstance(reply := await conversation.next(), ChatCompleted):
            pass
        conversation.ended = True
        meter.done(reply.model, reply.usage)
        if reply.body is None:
            raise BusError(f"engine {reply.engine} ended a request that did not stream without its response")
        headers = answer_headers(self._visit, reply, meter.headers)
        await send_whole(send, reply.body.encode(), headers=headers)

    async def _stream(self, conversation: Conversation, meter: Meter, send: Send) -> None:
        wire = EventWire(send, headers=((b"x-archive-stream", conversation.id.encode()), *meter.headers))
        try:
            await self._pass_on(conversation, meter, wire)
        except (GatewayError, BusError) as error:
            if not wire.started:
                raise
            problem = error.problem()
            meter.broke(problem.spent)
            if self._presence and conversation.ended:
                await self._presence.book_cut(problem.spent)
            # Without [DONE]: clients take this for what it is, an answer that broke off.
            await wire.data(openai_error(problem).decode())
        await wire.end()

    async def _pass_on(self, conversation: Conversation, meter: Meter, wire: EventWire) -> None:
        presence, patience_s = self._presence, NOTE_S if self._presence else PING_S
        while True:
            if presence:
                await presence.note()
            reply = await conversation.next(within=patience_s)
            if reply is None:
                await wire.ping()
                continue
            while isinstance(reply, ChatDelta):
                self._add(reply, conversation, meter, wire)
                reply = conversation.ready()
            await wire.flush()
            if isinstance(reply, ChatCompleted):
                conversation.ended = True
                meter.done(reply.model, reply.usage)
                if presence:
                    await presence.book(reply)
                await wire.data("[DONE]", entry=f"{conversation.id}/{conversation.seq}")
                return

    def _add(self, piece: ChatDelta, conversation: Conversation, meter: Meter, wire: EventWire) -> None:
        """Queue a piece: all that is here goes out together."""
        meter.piece()
        if piece.engine:
            wire.announce(*stream_headers(self._visit, piece, meter.headers))
        if self._presence:
            self._presence.pieces += 1
        wire.add(piece.body, entry=f"{conversation.id}/{conversation.seq}")
