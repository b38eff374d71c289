"""The ASGI application: the door that every request comes through, and that every error leaves by."""

import asyncio
import secrets
import time

from opentelemetry.trace import SpanKind, Tracer
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from archive_blobs import BlobError
from archive_bus import BusError
from archive_contracts.base import Problem
from archive_gateway.domain.door import Guard, request_id
from archive_gateway.domain.errors import GatewayError, Leaving
from archive_gateway.domain.faces import error_body, error_headers, speaks_openai
from archive_gateway.routes.answers import EVENTS, send_last_event, send_whole
from archive_gateway.routes.connection import ClientLeft
from archive_gateway.routes.headers import overhead
from archive_gateway.routes.visit import TICKET, Ticket
from archive_telemetry import counter, extract, get_logger, histogram

log = get_logger(__name__)


class Entry:
    """Admits requests, gives each an id, and turns whatever goes wrong into an answer."""

    def __init__(self, router: ASGIApp, guard: Guard, *, tracer: Tracer | None) -> None:
        self._router = router
        self._guard = guard
        self._tracer = tracer
        self._meters: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._count = counter("archive_gateway_requests", "HTTP requests answered.", "route", "method", "status")
        self._seconds = histogram("archive_gateway_request_seconds", "Time to the end of an answer.", "route")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        scope["path"] = scope["path"].rstrip("/") or "/"
        mark = f"req_{secrets.token_hex(12)}"
        ticket = Ticket(
            id=request_id(headers.get(b"x-request-id"), mark),
            mark=mark,
            began=began,
            headers=headers,
            traceparent=headers.get(b"traceparent", b"").decode("latin-1"),
            tracestate=headers.get(b"tracestate", b"").decode("latin-1"),
        )
        scope[TICKET] = ticket
        reply = _Reply(send, ticket, speaks_openai(scope["path"]))
        if self._tracer is None:
            await self._serve(scope, receive, reply)
        else:
            await self._serve_traced(self._tracer, scope, receive, reply)
        self._measure(scope, reply, time.perf_counter() - began)

    async def _serve(self, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        try:
            reply.ticket.caller = self._guard.admit(scope["path"], reply.ticket.headers)
            await self._router(scope, receive, reply)
        except ClientLeft:
            reply.status = 499
        except asyncio.CancelledError:
            # What outlasts the grace of a server that ends is cancelled; whoever asked hears of it all the same.
            gone = Leaving("The gateway ended before the answer was whole.", next_step="Send the request again.")
            await self._refuse(scope, reply, gone)
            raise
        except Exception as error:  # noqa: BLE001 - the edge of the process: whatever it is, the client gets an answer
            await self._refuse(scope, reply, error)

    async def _serve_traced(self, tracer: Tracer, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        ticket = reply.ticket
        with tracer.start_as_current_span(
            f"{scope['method']} {scope['path'] if len(scope['path']) < 80 else ''}".rstrip(),
            extract(ticket.traceparent, ticket.tracestate) if ticket.traceparent else None,
            SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "url.path": scope["path"], "archive.id": ticket.id},
        ) as span:
            # The bus takes the current span, unless a request names another.
            ticket.traceparent = ticket.tracestate = ""
            await self._serve(scope, receive, reply)
            span.set_attribute("http.response.status_code", reply.status)

    async def _refuse(self, scope: Scope, reply: "_Reply", error: Exception) -> None:
        problem = problem_of(error)
        if problem.status >= 500:
            trace = error if problem.code == "internal_error" else None
            log.error(
                "request failed",
                exc_info=trace,
                code=problem.code,
                error=problem.message,
                path=scope["path"],
                request_id=reply.ticket.id,
            )
        if reply.status:
            # Half an answer is out. A stream can say so; of a body only the broken connection tells that it is half.
            if reply.streams:
                await send_last_event(reply, error_body(problem, scope["path"]), named=not speaks_openai(scope["path"]))
            return
        headers = [*error_headers(problem), overhead(reply.ticket.began, upstream_ms=problem.upstream_ms)]
        if isinstance(error, GatewayError):
            headers.extend(error.headers())
        headers.extend(reply.ticket.limits)
        await send_whole(reply, error_body(problem, scope["path"]), status=problem.status, headers=headers)

    def _measure(self, scope: Scope, reply: "_Reply", seconds: float) -> None:
        found = scope.get("route")
        # Looking a meter up by its labels costs more than moving it.
        key = (found.path if found else "none", scope["method"] if found else "", reply.status)
        meters = self._meters.get(key)
        if meters is None:
            count = self._count.labels(key[0], key[1], str(key[2]))
            meters = self._meters[key] = (count, self._seconds.labels(key[0]))
        meters[0].inc()
        meters[1].observe(seconds)


class _Reply:
    """The way out: adds what every answer carries and remembers its status."""

    __slots__ = ("_openai", "_send", "status", "streams", "ticket")

    def __init__(self, send: Send, ticket: Ticket, openai: bool) -> None:
        self._send = send
        self._openai = openai
        self.ticket = ticket
        self.status = 0
        self.streams = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: list[tuple[bytes, bytes]] = message["headers"]
            self.streams = EVENTS in headers
            headers.append((b"x-request-id", self.ticket.id.encode()))
            if self._openai:
                spent = int((time.perf_counter() - self.ticket.began) * 1000)
                headers.append((b"openai-processing-ms", b"%d" % spent))
        await self._send(message)


def problem_of(error: Exception) -> Problem:
    """Return what a client is told about an exception; of an unforeseen one, nothing but that it happened."""
    if isinstance(error, GatewayError | BusError):
        return error.problem()
    if isinstance(error, BlobError):
        return Problem(code=error.code, message=error.message, next_step=error.next_step, status=503, retry_after_s=5.0)
    return Problem(
        code="internal_error",
        message="The gateway failed on this request.",
        next_step="Look for its x-request-id in the log of the gateway.",
        status=500,
    )
