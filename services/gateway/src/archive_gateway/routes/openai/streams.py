"""Streams that go on: at any gateway, from the event after the last one the client has."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from archive_bus import Answered, BusError, BusUnavailable, NoSuchLog
from archive_contracts.agents import ModelUse, ResearchCompleted
from archive_contracts.base import Failed, Message, Problem, Spent
from archive_contracts.chat import ChatCompleted, ChatDelta
from archive_gateway.domain.errors import GatewayError, NotThere
from archive_gateway.domain.faces import openai_error, platform_error, speaks_openai
from archive_gateway.domain.ports import Patron
from archive_gateway.domain.usage import Counts, tokens_in
from archive_gateway.routes.answers import PING_S, EventWire, Nothing
from archive_gateway.routes.asking import OUTAGE_S
from archive_gateway.routes.compat.research_events import event_of
from archive_gateway.routes.connection import while_connected
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.metering import bookings_of, cut_counts
from archive_gateway.routes.visit import Visit

GRACE_S = 30.0
"""For how long a stream that asked for it goes on without anybody listening."""
NOTE_S = 5.0
_MARK = re.compile(r"([0-9a-f]{32})/(\d{1,15})")
_STREAM = re.compile(r"[0-9a-f]{32}")


def mark_of(visit: Visit) -> tuple[str, int] | None:
    """Return stream and place of ``Last-Event-ID``, or None when it names none of ours."""
    found = _MARK.fullmatch(visit.header(b"last-event-id"))
    return (found[1], int(found[2])) if found else None


async def resume_stream(desk: Desk, visit: Visit) -> ASGIApp:
    """Go on with a streamed answer after ``Last-Event-ID``, or from its beginning."""
    stream = visit.part("stream")
    if not _STREAM.fullmatch(stream):
        raise _unknown(stream)
    mark = mark_of(visit)
    return await resumed(desk, visit, stream, mark[1] if mark and mark[0] == stream else 0)


async def resumed(desk: Desk, visit: Visit, stream: str, place: int) -> ASGIApp:
    """Return the rest of an answer.

    Raises:
        NotThere: the tenant has no such stream, or no longer.
        Unavailable: a server is away.
    """
    await desk.asking.demand_servers()
    following = desk.bus.follow_log(stream, tenant=visit.ticket.tenant, after=place)
    try:
        async for first in following:
            if first is None:
                # Silence, or a server that went away just now.
                await desk.asking.demand_servers()
            return ResumedAnswer(desk, visit, Rest(stream, place, first, following))
    except NoSuchLog:
        raise _unknown(stream) from None
    return Nothing()


def _unknown(stream: str) -> NotThere:
    return NotThere(
        f"There is no stream {stream[:100]!r}.",
        next_step="Streams are kept for ten minutes after their end, for the tenant that began them.",
        code="stream_not_found",
    )


class Presence:
    """Somebody listens to a resumable stream: said now and then, and what follows when that ends."""

    def __init__(self, desk: Desk, stream: str, *, tenant: str, patron: Patron) -> None:
        self._desk = desk
        self._stream = stream
        self._tenant = tenant
        self._noted = 0.0
        self.patron = patron
        self.pieces = 0

    async def note(self) -> None:
        """Tell the other gateways, every few seconds."""
        now = time.monotonic()
        if now - self._noted > NOTE_S:
            self._noted = now
            await self._desk.attendance.note(self._stream, self.patron)

    def leave(self, stream: str) -> None:
        """Let the stream go on for a while; what nobody has taken up by then is cancelled, and booked as cut."""
        self._desk.cancels.later(self._after_grace(stream))

    async def book(self, done: ChatCompleted) -> None:
        """Book the whole answer, once for all who saw its end."""
        if not await self._desk.attendance.settled(self._stream):
            used = done.usage
            prompt = used.prompt_tokens or tokens_in(self.patron.prompt_chars)
            counts = Counts(requests=1, prompt_tokens=prompt, completion_tokens=used.completion_tokens or self.pieces)
            counts.estimated = 0 if used.total_tokens else 1
            self._desk.metering.book(self._tenant, self.patron.key, done.model, counts)

    async def book_run(self, used: Sequence[ModelUse]) -> None:
        """Book what a run asked of models, once for all who saw its end."""
        if used and not await self._desk.attendance.settled(self._stream):
            for model, counts in bookings_of(used):
                self._desk.metering.book(self._tenant, self.patron.key, model, counts)

    async def _after_grace(self, stream: str) -> None:
        await asyncio.sleep(GRACE_S)
        if await self._desk.attendance.attended(stream):
            return
        self._desk.cancels.soon(stream, reason="nobody came back for the answer")
        await self.book_cut()

    async def book_cut(self, spent: Spent | None = None) -> None:
        """Book what came of an answer that broke off, once: as ``spent`` says, else by the pieces that came by."""
        if not (spent or self.pieces):
            return
        if not await self._desk.attendance.settled(self._stream):
            prompt, model = tokens_in(self.patron.prompt_chars), spent.model if spent else self.patron.model
            pieces = Counts(requests=1, prompt_tokens=prompt, completion_tokens=self.pieces, cut=1, estimated=1)
            self._desk.metering.book(self._tenant, self.patron.key, model, cut_counts(spent) if spent else pieces)


@dataclass(frozen=True, slots=True)
class Rest:
    """What follows a place of a stream, as its log tells it: the first piece, and those behind it."""

    stream: str
    place: int
    first: Answered | None
    following: AsyncIterator[Answered | None]


class ResumedAnswer:
    """The rest of a streamed answer, read from its log."""

    def __init__(self, desk: Desk, visit: Visit, rest: Rest) -> None:
        self._desk = desk
        self._tenant = visit.ticket.tenant
        self._stream = rest.stream
        self._place = rest.place
        self._first = rest.first
        self._following = rest.following
        self._presence: Presence | None = None
        self._ended = False
        self._named = not speaks_openai(visit.scope["path"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wire = EventWire(send, headers=((b"x-archive-stream", self._stream.encode()),))
        patron = await self._desk.attendance.patron(self._stream)
        if patron:
            self._presence = Presence(self._desk, self._stream, tenant=self._tenant, patron=patron)
        try:
            async with while_connected(scope):
                await self._pass_on(wire)
                await wire.end()
        finally:
            if self._presence and not self._ended:
                self._presence.leave(self._stream)

    async def _pass_on(self, wire: EventWire) -> None:
        spoke = time.monotonic()
        try:
            await self._tell(wire, self._first)
            while not self._ended:
                try:
                    answered = await anext(self._following)
                except StopAsyncIteration:
                    # The answer has ended before the place that its client named.
                    self._ended = True
                    return
                if answered is not None:
                    spoke = time.monotonic()
                elif time.monotonic() - spoke > PING_S:
                    spoke = time.monotonic()
                    await wire.ping()
                await self._tell(wire, answered)
        except (BusUnavailable, GatewayError) as error:
            # The answer goes on: somebody may come back for it.
            await self._fail(wire, error.problem())
        except BusError as error:
            self._ended = True
            await self._fail(wire, error.problem())

    async def _tell(self, wire: EventWire, answered: Answered | None) -> None:
        if self._presence:
            await self._presence.note()
        if answered is None:
            await self._desk.asking.demand_servers(away_s=OUTAGE_S)
            if await self._is_cancelled():
                self._ended = True
                await self._fail(wire, _CANCELLED)
            return
        self._place, self._ended = answered.seq, answered.last
        entry = f"{self._stream}/{answered.seq}"
        match answered.message:
            case ChatDelta():
                if self._presence:
                    self._presence.pieces += 1
                await wire.data(answered.message.body, entry=entry)
            case ChatCompleted():
                if self._presence:
                    await self._presence.book(answered.message)
                await wire.data("[DONE]", entry=entry)
            case Failed(problem=problem):
                await self._book_cut(problem)
                await self._fail(wire, problem, entry)
            case message if event := event_of(message):
                self._named = True
                await self._book_run(message)
                await wire.event(*event, entry=entry)
            case _:
                raise NoSuchLog(f"the stream {self._stream!r} is no chat and no research")

    async def _is_cancelled(self) -> bool:
        """Whether nothing comes any more: whoever was stopped writes no end."""
        try:
            # A server that is away is as silent as a log without more: only one that answers tells that this was all.
            return await self._desk.bus.cancelled(self._stream) and not await self._desk.bus.log(
                self._stream, tenant=self._tenant, after=self._place
            )
        except BusUnavailable:
            return False

    async def _book_run(self, message: Message) -> None:
        if self._presence and isinstance(message, ResearchCompleted):
            await self._presence.book_run(message.used)

    async def _book_cut(self, problem: Problem) -> None:
        if self._presence:
            await self._presence.book_cut(problem.spent)

    async def _fail(self, wire: EventWire, problem: Problem, entry: str = "") -> None:
        """Say why nothing follows, in the words of the stream: events of a chat have no names."""
        if self._named:
            await wire.event("error", platform_error(problem), entry=entry)
        else:
            await wire.data(openai_error(problem).decode(), entry=entry)


_CANCELLED = Problem(
    code="stream_cancelled",
    message="The answer was cancelled: the client that asked for it left.",
    next_step="Send the request again; with the header 'x-archive-resume: 1' an answer outlives its client.",
    status=499,
)
