"""Universal AI Tools' router: /smart, /providers/health, /guardrails/metrics."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, JsonValue
from starlette.types import ASGIApp, Receive, Scope, Send

from archive_bus import BusError
from archive_contracts.chat import ChatCompleted, ChatDelta
from archive_contracts.streams import CHAT_REQUESTS
from archive_gateway.domain.chunks import content_of
from archive_gateway.domain.errors import GatewayError
from archive_gateway.routes.answers import PING_S, EventWire, Json
from archive_gateway.routes.asking import Conversation
from archive_gateway.routes.connection import while_connected
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.metering import ANSWER_TOKENS, Demand, Meter
from archive_gateway.routes.openai.chat import session_of
from archive_gateway.routes.openai.chat_body import Asked, ChatMessage, chat_asked
from archive_gateway.routes.visit import Visit

PROFILE = "smart"
"""The model name with which the router chooses by the words of the request."""


class SmartRequest(BaseModel):
    """A conversation for whichever model suits it; `model` is taken for a wish and passed over."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    model: str | None = None
    temperature: Annotated[float | None, Field(allow_inf_nan=False)] = None
    max_tokens: Annotated[int | None, Field(ge=0)] = None
    stream: bool = False


class SmartAnswer(BaseModel):
    """The answer, which model gave it, and on which engine."""

    response: str
    model: str
    provider: str
    status: Literal["success"] = "success"


class SmartFailure(BaseModel):
    """Why there is none. The original says so with HTTP 200, and its clients look at `status` alone."""

    error: str
    status: Literal["failed"] = "failed"


class SmartPiece(BaseModel):
    """A piece of a streamed answer. The last event is the text `[DONE]`, or why the answer broke off."""

    content: str


class ProvidersHealth(BaseModel):
    """Which engines answer."""

    status: str
    providers: dict[str, bool]
    healthy_providers: list[str]
    total_providers: int
    healthy_count: int
    timestamp: str


class GuardrailsMetrics(BaseModel):
    """How busy this gateway is, and what it holds back."""

    current_concurrent_requests: int
    max_concurrent_requests: int
    active_rate_limits: Annotated[int, Field(description="Limits of keys that have turned requests away here.")]
    active_circuit_breakers: Annotated[int, Field(description="Engine workers that take no requests for now.")]
    timestamp: str


async def smart(desk: Desk, visit: Visit) -> ASGIApp:
    """Answer a conversation with the model that suits it."""
    wanted = await visit.body(SmartRequest)
    body: dict[str, JsonValue] = {"model": PROFILE, "messages": json.loads(await visit.raw())["messages"]}
    chosen: dict[str, JsonValue] = {
        "temperature": wanted.temperature,
        "max_tokens": wanted.max_tokens,
        "stream": wanted.stream or None,
    }
    body |= {name: value for name, value in chosen.items() if value is not None}
    asked = chat_asked(json.dumps(body).encode(), desk.metering.guardrails, session=session_of(visit))
    return _Smart(desk, visit, asked)


class _Smart:
    def __init__(self, desk: Desk, visit: Visit, asked: Asked) -> None:
        self._desk = desk
        self._visit = visit
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._opened(scope) as (conversation, meter):
                if self._asked.request.stream:
                    await _stream(conversation, meter, EventWire(send))
                    return
                while not isinstance(done := await conversation.next(), ChatCompleted):
                    pass
                conversation.ended = True
                meter.done(done.model, done.usage)
        except (GatewayError, BusError) as error:
            await Json(_failure(error))(scope, receive, send)
            return
        await Json(SmartAnswer(response=done.text, model=done.model, provider=done.engine))(scope, receive, send)

    @asynccontextmanager
    async def _opened(self, scope: Scope) -> AsyncGenerator[tuple[Conversation, Meter], None]:
        request, desk, visit = self._asked.request, self._desk, self._visit
        demand = Demand(
            model=request.model,
            prompt_chars=request.prompt_chars,
            answer_tokens=self._asked.answer_tokens or ANSWER_TOKENS,
            timeout_s=desk.limits.request_s,
        )
        async with (
            desk.metering.admitted(visit.ticket, demand) as meter,
            desk.asking.open(request, to=CHAT_REQUESTS, origin=visit.origin, timeout=demand.timeout_s) as conversation,
            while_connected(scope),
        ):
            yield conversation, meter


async def _stream(conversation: Conversation, meter: Meter, wire: EventWire) -> None:
    """Send the pieces as they come. Raises what keeps the first from coming."""
    try:
        while not isinstance(reply := await conversation.next(within=PING_S), ChatCompleted):
            if isinstance(reply, ChatDelta):
                meter.piece()
                if text := content_of(reply.body):
                    await wire.data(SmartPiece(content=text).model_dump_json())
            elif reply is None:
                await wire.ping()
        conversation.ended = True
        meter.done(reply.model, reply.usage)
        await wire.data("[DONE]")
    except (GatewayError, BusError) as error:
        if not wire.started:
            raise
        await wire.data(_failure(error).model_dump_json())
    await wire.end()


def _failure(error: GatewayError | BusError) -> SmartFailure:
    problem = error.problem()
    return SmartFailure(error=f"{problem.message} {problem.next_step}".strip())


async def providers_health(desk: Desk, visit: Visit) -> ASGIApp:
    """Say which engines answer."""
    providers: dict[str, bool] = {}
    for member in desk.engines.members():
        name = member.worker.engine
        providers[name] = providers.get(name, False) or member.worker.healthy
    healthy = sorted(name for name, well in providers.items() if well)
    return Json(
        ProvidersHealth(
            status="healthy" if healthy else "unhealthy",
            providers=providers,
            healthy_providers=healthy,
            total_providers=len(providers),
            healthy_count=len(healthy),
            timestamp=_now(),
        )
    )


async def guardrails_metrics(desk: Desk, visit: Visit) -> ASGIApp:
    """Say how busy this gateway is."""
    workers = [member.worker for member in desk.engines.members()]
    return Json(
        GuardrailsMetrics(
            current_concurrent_requests=desk.metering.running,
            max_concurrent_requests=desk.metering.guardrails.max_concurrent,
            active_rate_limits=len(desk.metering.turned_away),
            active_circuit_breakers=sum(worker.cooling_s > 0 or not worker.healthy for worker in workers),
            timestamp=_now(),
        )
    )


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
