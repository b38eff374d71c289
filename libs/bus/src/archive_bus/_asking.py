"""Requests and their replies."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import TypeVar

from archive_bus._answers import Answers
from archive_bus._calls import Call, Calls
from archive_bus._delivery import Origin
from archive_bus._errors import DeadlineExpired, WrongAnswer
from archive_bus._ids import message_id as new_id
from archive_bus._lease import Lease
from archive_bus._publishing import Publishing
from archive_bus._replies import ReplyReader
from archive_contracts.base import Message
from archive_contracts.streams import Stream

A = TypeVar("A", bound=Message)

_NOWHERE = Origin()
OPEN_S = 5.0
"""How long a process's first request waits at least until it can be answered; its own time begins then."""


class Asking(Publishing):
    """What a bus asks of others."""

    process: str
    _answers: Answers
    _calls: Calls
    _replies: ReplyReader

    async def request(
        self,
        message: Message,
        answer: type[A],
        *,
        to: Stream,
        partition: str = "",
        origin: Origin | None = None,
        timeout: float = 10.0,
        lease: Lease | None = None,
    ) -> A:
        """Publish a message and return its one reply.

        Raises:
            RequestTimeout: no reply before the deadline.
            RequestFailed: the reply is a problem.
            BusUnavailable: the message could not be published.
            WrongAnswer: the reply is not an ``answer``.
        """
        async with self.open(message, to=to, partition=partition, origin=origin, timeout=timeout, lease=lease) as call:
            reply = await call.next()
        if not isinstance(reply, answer):
            raise WrongAnswer(f"{message.type} was answered by {reply.type}, not by {answer.type}")
        return reply

    def open(
        self,
        message: Message,
        *,
        to: Stream,
        partition: str = "",
        origin: Origin | None = None,
        timeout: float = 10.0,
        publish_within: float | None = None,
        lease: Lease | None = None,
        id: str | None = None,  # noqa: A002 - CloudEvents' own word
    ) -> AbstractAsyncContextManager[Call]:
        """Publish a message and yield the call that its replies arrive on.

        With ``origin.log`` the replies are kept under that id as well, see ``follow_log``; the message takes the same
        id, so that whoever resumes the answer can cancel it.
        """
        begin = partial(
            self._begin,
            message,
            to=to,
            partition=partition,
            origin=origin or _NOWHERE,
            timeout=timeout,
            publish_within=publish_within,
            lease=lease,
            message_id=id,
        )
        return _Opening(begin, self._calls)

    async def _begin(
        self,
        message: Message,
        *,
        to: Stream,
        partition: str,
        origin: Origin,
        timeout: float,
        publish_within: float | None,
        lease: Lease | None,
        message_id: str | None,
    ) -> Call:
        await self._replies.opened(within_s=publish_within or max(timeout, OPEN_S))
        now = time.time()
        deadline = min(origin.deadline or 2**53, int((now + timeout) * 1000))
        if deadline <= now * 1000:
            raise DeadlineExpired("the deadline had passed before the request was sent")
        call = Call(
            call_id=self._calls.new_id(),
            message_id=message_id or origin.log or new_id(),
            deadline=asyncio.get_running_loop().time() + deadline / 1000 - now,
        )
        self._calls.add(call)
        try:
            if origin.log:
                await self._answers.open(origin, life=timedelta(seconds=timeout))
            await self.publish(
                message,
                to=to,
                partition=partition,
                origin=_answered_at(f"{self.process}/{call.id}", origin, deadline=deadline),
                id=call.message_id,
                timeout=min(publish_within or timeout, timeout),
                lease=lease,
            )
        except BaseException:  # also when cancelled
            self._calls.remove(call)
            raise
        return call


class _Opening(AbstractAsyncContextManager[Call]):
    """A request from its publishing to the last reply that is waited for."""

    # A class: a generator with its decorator costs several times as much, and each request has one.
    __slots__ = ("_begin", "_call", "_calls")

    def __init__(self, begin: Callable[[], Awaitable[Call]], calls: Calls) -> None:
        self._begin = begin
        self._calls = calls

    async def __aenter__(self) -> Call:
        self._call = await self._begin()
        return self._call

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls.remove(self._call)


def _answered_at(reply: str, origin: Origin, *, deadline: int) -> Origin:
    """Return where a request comes from; ``replace`` would look every field up twice."""
    return Origin(
        tenant=origin.tenant,
        correlation=origin.correlation,
        causation=origin.causation,
        deadline=deadline,
        traceparent=origin.traceparent,
        tracestate=origin.tracestate,
        reply=reply,
        log=origin.log,
        shadow=origin.shadow,
    )
