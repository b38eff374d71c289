"""Requests and their replies."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from archive_bus._answers import Answers
from archive_bus._calls import Call, Calls
from archive_bus._delivery import Origin
from archive_bus._errors import DeadlineExpired, WrongAnswer
from archive_bus._lease import Lease
from archive_bus._publishing import Publishing
from archive_bus._replies import ReplyReader
from archive_contracts.base import Message
from archive_contracts.streams import Stream

A = TypeVar("A", bound=Message)

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

    @asynccontextmanager
    async def open(
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
    ) -> AsyncGenerator[Call, None]:
        """Publish a message and yield the call that its replies arrive on.

        With ``origin.log`` the replies are kept under that id as well, see ``follow_log``; the message takes the same
        id, so that whoever resumes the answer can cancel it.
        """
        origin = origin or Origin()
        await self._replies.opened(within_s=publish_within or max(timeout, OPEN_S))
        now = time.time()
        deadline = min(origin.deadline or 2**53, int((now + timeout) * 1000))
        if deadline <= now * 1000:
            raise DeadlineExpired("the deadline had passed before the request was sent")
        call = Call(
            call_id=secrets.token_hex(8),
            message_id=id or origin.log or secrets.token_hex(16),
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
                origin=replace(origin, deadline=deadline, reply=f"{self.process}/{call.id}"),
                id=call.message_id,
                timeout=min(publish_within or timeout, timeout),
                lease=lease,
            )
            yield call
        finally:
            self._calls.remove(call)
