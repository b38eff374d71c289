"""POST /chat: one message, one answer."""

import json

from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from archive_contracts.chat import ChatCompleted, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_gateway.routes.answers import Json
from archive_gateway.routes.compat.fields import Spoken
from archive_gateway.routes.connection import while_connected
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.headers import answer_headers
from archive_gateway.routes.metering import Demand
from archive_gateway.routes.visit import Visit

ANY_MODEL = "auto"
MAX_TOKENS = 1024
TEMPERATURE = 0.1
TOP_P = 0.9
"""Sampling as the original's /chat had it."""


class ChatMessageIn(BaseModel):
    """Something to be answered."""

    message: Spoken


class ChatMessageOut(BaseModel):
    """The answer, and which engine gave it."""

    response: str
    engine: str


async def chat(desk: Desk, visit: Visit) -> ASGIApp:
    """Answer one message."""
    wanted = await visit.body(ChatMessageIn)
    return _Talk(desk, visit, wanted.message)


class _Talk:
    def __init__(self, desk: Desk, visit: Visit, text: str) -> None:
        self._desk = desk
        self._visit = visit
        self._text = text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = ChatRequested(
            body=json.dumps(
                {
                    "model": ANY_MODEL,
                    "messages": [{"role": "user", "content": self._text}],
                    "max_tokens": MAX_TOKENS,
                    "temperature": TEMPERATURE,
                    "top_p": TOP_P,
                }
            ),
            model=ANY_MODEL,
            prompt_chars=len(self._text),
            user_turn=self._text,
        )
        desk, chars = self._desk, len(self._text)
        desk.metering.guardrails.check_messages(1, chars, param="message")
        desk.metering.guardrails.check_sizes(prompt_chars=chars, answer_tokens=MAX_TOKENS, choices=1)
        timeout_s = desk.limits.request_s
        demand = Demand(model=ANY_MODEL, prompt_chars=chars, answer_tokens=MAX_TOKENS, timeout_s=timeout_s)
        async with (
            desk.metering.admitted(self._visit.ticket, demand) as meter,
            desk.asking.open(request, to=CHAT_REQUESTS, origin=self._visit.origin, timeout=timeout_s) as conversation,
            while_connected(scope),
        ):
            while not isinstance(reply := await conversation.next(), ChatCompleted):
                pass
            conversation.ended = True
            meter.done(reply.model, reply.usage)
            answer = ChatMessageOut(response=reply.text, engine=reply.engine)
            headers = answer_headers(self._visit, reply, meter.headers)
            await Json(answer, headers=headers)(scope, receive, send)
