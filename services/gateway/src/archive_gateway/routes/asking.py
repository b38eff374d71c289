"""Requests to the other services, on behalf of a client who waits."""

import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar

import anyio

from archive_bus import Bus, BusError, BusUnavailable, Call, Origin, RequestFailed
from archive_contracts.base import Message
from archive_contracts.streams import Stream
from archive_gateway.domain.errors import Unavailable
from archive_gateway.domain.ports import Cancels, Outage, Outages

A = TypeVar("A", bound=Message)
T = TypeVar("T")
Leave = Callable[[str], None]
"""What to do about a request that nobody waits for any more, by its id."""

PUBLISH_S = 0.8
"""A client is told within a second that a server is away; this is what of it a publish may take."""
FIRST_LOOK_S = 0.12
LOOK_S = 1.0
OUTAGE_S = 4.0
"""How long a server may be away under a request that was accepted: a restart is shorter."""


class Conversation:
    """The replies to one request.

    They come over a server that may go away, which nobody would notice here: silence makes it look.
    """

    __slots__ = ("_call", "_looks", "_outages", "ended", "id")

    def __init__(self, call: Call, outages: Outages) -> None:
        self._call = call
        self._outages = outages
        self._looks = 0
        self.id = call.message_id
        self.ended = False

    @property
    def seq(self) -> int:
        """The place of the last reply in the log of the answer."""
        return self._call.seq

    async def next(self, *, within: float = 3600.0) -> Message | None:
        """Return the next reply, or None after ``within`` seconds of silence.

        Raises:
            RequestFailed: the request was answered by a problem.
            RequestTimeout: its deadline passed.
            Unavailable: a server is away, from the start or for longer than a restart takes.
        """
        if reply := self.ready():
            return reply
        until = time.monotonic() + within
        while (left := until - time.monotonic()) > 0:
            try:
                return await self._call.next(within=min(left, LOOK_S if self._looks else FIRST_LOOK_S))
            except TimeoutError:
                await self._look()
            except RequestFailed:
                self.ended = True
                raise
        return None

    def ready(self) -> Message | None:
        """Return the next reply when it is here already. Raises RequestFailed as next does."""
        try:
            return self._call.ready()
        except RequestFailed:
            self.ended = True
            raise

    async def _look(self) -> None:
        outage = await self._outages.look()
        begun = self._looks or self._call.seq
        if outage and (not begun or outage.seconds > OUTAGE_S):
            raise _away(outage)
        self._looks += 1


class Asking:
    """Publishes requests and gives up on them properly."""

    def __init__(self, bus: Bus, outages: Outages, cancels: Cancels) -> None:
        self._bus = bus
        self._outages = outages
        self._cancels = cancels

    def open(
        self, message: Message, *, to: Stream, origin: Origin, timeout: float, leave: Leave | None = None
    ) -> "Opening":
        """Publish a request and yield its replies; one that is left before its end is cancelled, or as ``leave`` does.

        Raises, when the block begins:
            Unavailable, BusUnavailable: a server is away.
        """
        message_id = origin.log or os.urandom(16).hex()
        call = self._bus.open(message, to=to, origin=origin, timeout=timeout, publish_within=PUBLISH_S, id=message_id)
        return Opening(
            call, message_id=message_id, outages=self._outages, cancel=self._cancel, leave=leave or self._cancel
        )

    def _cancel(self, message_id: str) -> None:
        self._cancels.soon(message_id, reason="nobody waits for the answer any more")

    async def ask(self, message: Message, answer: type[A], *, to: Stream, origin: Origin, timeout: float = 10.0) -> A:
        """Publish a request and return its one reply.

        Raises:
            RequestFailed, RequestTimeout, Unavailable, BusUnavailable: as the name says.
            BusError: the reply is not an ``answer``.
        """
        async with self.open(message, to=to, origin=origin, timeout=timeout) as conversation:
            reply = await conversation.next()
            conversation.ended = True
        if not isinstance(reply, answer):
            raise BusError(f"{message.type} was not answered by {answer.type}")
        return reply

    async def demand_servers(self, *, away_s: float = 0.0) -> None:
        """Raise Unavailable when a server has been away for so long, for answers that would be stale or late then."""
        outage = await self._outages.look()
        if outage and outage.seconds >= away_s:
            raise _away(outage)


class Opening:
    """A request from its publishing to the last reply that its client waits for."""

    # A class: a generator with its decorator costs several times as much, and each request has one.
    __slots__ = ("_call", "_cancel", "_conversation", "_id", "_leave", "_outages")

    def __init__(
        self,
        call: AbstractAsyncContextManager[Call],
        *,
        message_id: str,
        outages: Outages,
        cancel: Leave,
        leave: Leave,
    ) -> None:
        self._call = call
        self._id = message_id
        self._outages = outages
        self._cancel = cancel
        self._leave = leave

    async def __aenter__(self) -> Conversation:
        if outage := self._outages.known():
            raise _away(outage)
        try:
            call = await self._call.__aenter__()
        except BaseException:  # also when cancelled
            # The server may have taken a request whose publishing failed, and somebody may work on it.
            self._cancel(self._id)
            raise
        self._conversation = Conversation(call, self._outages)
        return self._conversation

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._call.__aexit__(kind, error, trace)
        finally:
            if not self._conversation.ended:
                self._leave(self._id)


async def soon(reading: Awaitable[T]) -> T:
    """Wait for the bus no longer than a client is kept waiting. Raises BusUnavailable."""
    try:
        with anyio.fail_after(PUBLISH_S):
            return await reading
    except TimeoutError:
        raise BusUnavailable(f"the server did not answer within {PUBLISH_S:g} s") from None


def _away(outage: Outage) -> Unavailable:
    return Unavailable(
        f"A server is away: {outage.what}.",
        next_step="Try again in a moment; 'archive status' shows whether the servers run.",
    )
