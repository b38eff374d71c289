"""Requests that wait for replies: one reply stream for the process, one queue for each call."""

import asyncio
import itertools
import secrets
from collections import deque
from collections.abc import AsyncIterator

from archive_bus._errors import BusError, BusUnavailable, RequestFailed, RequestTimeout
from archive_contracts.base import Failed, Message
from archive_contracts.envelope import Envelope

REMEMBERED = 32_768
"""Replies a call knows again at least: more than one process can have had on their way when its connection broke."""


class Call:
    """The caller's end of a request, for one reader: iterate for its replies.

    Iteration never ends by itself; the caller stops at the message type that ends its conversation. Raises
    RequestTimeout when the deadline passes, RequestFailed when the reply is a problem, BusUnavailable when replies were
    lost: with the server that held them, or because the caller fell behind by more than a reply stream holds. ``seq``
    is the place of the last reply in the answer: whoever resumes one that is kept names it.
    """

    def __init__(self, *, call_id: str, message_id: str, deadline: float) -> None:
        self._queue: deque[tuple[int, Message | BusError]] = deque()
        self._seen: set[str] = set()
        self._seen_before: set[str] = set()
        self._arrived: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._rings = self._patient_until = 0.0
        self._deadline = deadline
        self.seq = 0
        self.id = call_id
        self.message_id = message_id

    def __aiter__(self) -> AsyncIterator[Message]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Message]:
        while True:
            yield await self.next()

    async def next(self, *, within: float | None = None) -> Message:
        """Return the next reply.

        Raises:
            RequestTimeout: the deadline passed.
            RequestFailed: the reply is a problem.
            BusUnavailable: replies were lost.
            TimeoutError: ``within`` seconds passed, the deadline did not.
        """
        while not self._queue:
            await self._wait(within)
        return self._taken()

    def ready(self) -> Message | None:
        """Return the next reply when it is here already. Raises as next does for what came."""
        return self._taken() if self._queue else None

    def _taken(self) -> Message:
        seq, item = self._queue.popleft()
        if isinstance(item, BusError):
            raise item
        if isinstance(item, Failed):
            raise RequestFailed(item.problem)
        if seq > self.seq + 1:
            raise BusUnavailable(f"replies {self.seq + 1} to {seq - 1} were lost on their way")
        # A run that is repeated may begin anew: a lower place is no gap.
        self.seq = seq
        return item

    def put(self, item: Message | BusError, *, reply_id: str, seq: int = 0) -> None:
        """Take a reply in, once: what was on its way when a connection broke is written again."""
        if reply_id in self._seen or reply_id in self._seen_before:
            return
        if len(self._seen) >= REMEMBERED:
            self._seen_before, self._seen = self._seen, set()
        self._seen.add(reply_id)
        self._queue.append((seq, item))
        _wake(self._arrived)

    def close(self) -> None:
        """Let go of the timer: nobody waits any more."""
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None

    async def _wait(self, within: float | None) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        left = self._deadline - now
        self._patient_until = now + max(0.0, left if within is None else min(left, within))
        arrived = self._arrived = loop.create_future()
        # One timer serves many waits, for most are over long before it rings: a timer each costs as much as the reply.
        if self._alarm is None or self._rings > self._patient_until:
            self._ring_at(self._patient_until)
        try:
            await arrived
        finally:
            self._arrived = None
        if self._queue:
            return
        if within is not None and within < left:
            raise TimeoutError
        raise RequestTimeout("no reply came before the deadline")

    def _ring_at(self, when: float) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._rings = when
        self._alarm = asyncio.get_running_loop().call_at(when, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._arrived is None:
            return
        if self._rings >= self._patient_until:
            _wake(self._arrived)
        else:
            self._ring_at(self._patient_until)


def _wake(waiting: "asyncio.Future[None] | None") -> None:
    if waiting and not waiting.done():
        waiting.set_result(None)


class Calls:
    """The open calls of a process."""

    def __init__(self) -> None:
        self._open: dict[str, Call] = {}
        # Ids need only differ here and from those of processes that were called the same.
        self._name, self._count = secrets.token_hex(4), itertools.count()

    @property
    def waiting(self) -> bool:
        """Whether anybody waits for a reply."""
        return bool(self._open)

    def new_id(self) -> str:
        """Return an id for another call."""
        return f"{self._name}{next(self._count):x}"

    def add(self, call: Call) -> None:
        """Route replies for the call to it."""
        self._open[call.id] = call

    def remove(self, call: Call) -> None:
        """Drop replies that come too late."""
        self._open.pop(call.id, None)
        call.close()

    def deliver(self, envelope: Envelope, message: Message | BusError) -> None:
        """Hand a reply to its call, if it is still open."""
        if call := self._open.get(envelope.subject):
            call.put(message, reply_id=envelope.id, seq=envelope.seq)

    def lose(self) -> None:
        """Tell every open call that replies may have been lost with the server that held them."""
        for call in self._open.values():
            lost = BusUnavailable("the state server came back empty: replies under way were lost")
            call.put(lost, reply_id=f"lost-{id(lost)}")
