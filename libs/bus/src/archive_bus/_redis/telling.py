"""What one process tells another, token by token: written in the order of the calls, waited for by next to nobody.

Replies to one process that are ready when the connection is free travel as one entry of its reply stream, so that many
streams at once cost the server and the reader less than as many single ones; one alone waits for nothing.
"""

import asyncio
from collections.abc import Generator
from typing import Any, TypeVar, cast

from redis.exceptions import ResponseError

from archive_bus._commands import SHAS, refusal, silent
from archive_bus._errors import BusError, BusUnavailable, LeaseLost
from archive_bus._lease import Lease
from archive_bus._link import Argument, packed
from archive_bus._writer import Writer

LATE = -1
MOST_A_FRAME = 128
FRAME_BYTES = 64 * 1024
"""From here on a frame is closed: what is large gains nothing by travelling with others."""
MOST_WAITING = 32_768
"""Replies that may wait for the server, which nobody need await: an outage must not fill the memory with them."""
_REPLY, _KEEP = SHAS["reply"], SHAS["keep"]
_AT_ANY_PLACE = "equal or smaller"
T = TypeVar("T", bound="Told")


class Told:
    """One reply on its way; whether it found its stream. Need not be awaited."""

    __slots__ = ("_lease", "_outcome", "_timeout", "_waiters", "done", "fields", "until")

    def __init__(self, fields: list[bytes], *, lease: Lease | None, timeout: float) -> None:
        self._lease = lease
        self._timeout = timeout
        self._waiters: tuple[asyncio.Future[None], ...] = ()
        self._outcome: bool | BusError = False
        self.done = False
        self.fields = fields
        self.until = lease.until if lease else None

    def settle(self, reply: Any) -> None:
        """Take note of what the server said."""
        if self.done:
            return
        if isinstance(reply, ResponseError):
            self._end(self._judged(reply))
        elif reply == LATE:
            if self._lease:
                self._lease.refuse()
            self._end(LeaseLost("the lease had ended when the server got the message"))
        else:
            self._end(reply is not None)

    def fail(self, error: BusError) -> None:
        """Take note that it will not be written."""
        if not self.done:
            self._end(error)

    def __await__(self) -> Generator[Any, None, bool]:
        return self._wait().__await__()

    async def _wait(self) -> bool:
        if not self.done:
            loop = asyncio.get_running_loop()
            # One for each: whoever waits may leave, and the reply is written in its place all the same.
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters += (waiter,)
            timer = loop.call_later(self._timeout, self._expire)
            try:
                await waiter
            finally:
                timer.cancel()
        if isinstance(self._outcome, BusError):
            raise self._outcome
        return self._outcome

    def _judged(self, error: ResponseError) -> bool | BusError:
        return refusal(error)

    def _expire(self) -> None:
        self.fail(silent(self._timeout))

    def _end(self, outcome: bool | BusError) -> None:
        self.done = True
        self._outcome = outcome
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class Line(Told):
    """One entry of the log of an answer on its way; whether the log is there."""

    __slots__ = ("_key", "_place")

    def __init__(self, key: str, place: int, fields: list[bytes], *, lease: Lease | None, timeout: float) -> None:
        super().__init__(fields, lease=lease, timeout=timeout)
        self._key = key
        self._place = place

    def leaves(self) -> bool:
        """Whether it is to be sent."""
        return not self.done

    def text(self, ahead_ms: float) -> bytes:
        """Return the command."""
        return packed("EVALSHA", _KEEP, 1, self._key, _ends(self, ahead_ms), f"0-{self._place}", *self.fields)

    def _judged(self, error: ResponseError) -> bool | BusError:
        # Sent twice over a broken connection: the first has arrived.
        return True if _AT_ANY_PLACE in str(error) else super()._judged(error)


class Frame:
    """Replies to one process that travel together; it leaves from the place of the last of them."""

    __slots__ = ("_key", "_most", "_open", "_sent", "_size", "_told", "places")

    def __init__(self, key: str, *, most: int, among: "dict[str, Frame]") -> None:
        self._key = key
        self._most = most
        self._open = among
        self._told: list[Told] = []
        self._sent: list[Told] = []
        self._size = 0
        self.places = 0

    @property
    def full(self) -> bool:
        """Whether nothing more should join."""
        return len(self._told) >= MOST_A_FRAME or self._size >= FRAME_BYTES

    @property
    def done(self) -> bool:
        """Whether every reply of it has its outcome."""
        return all(told.done for told in self._told)

    def join(self, told: Told) -> None:
        """Take a reply in, which makes it leave behind all that was queued before."""
        self._told.append(told)
        self._size += len(told.fields[-1])
        self.places += 1

    def leaves(self) -> bool:
        """Whether it is to be sent from here, and not from a place further behind."""
        self.places -= 1
        if self.places > 0:
            return False
        if self._open.get(self._key) is self:
            del self._open[self._key]
        return not self.done

    def text(self, ahead_ms: float) -> bytes:
        """Return the command."""
        self._sent = sent = [told for told in self._told if not told.done]
        heads: list[Argument] = []
        fields: list[Argument] = []
        first = 0
        for told in sent:
            ends = _ends(told, ahead_ms)
            first = min(first or ends, ends or first)
            heads += (ends, len(told.fields))
            fields += told.fields
        return packed("EVALSHA", _REPLY, 1, self._key, first, self._most, len(sent), *heads, *fields)

    def settle(self, reply: Any) -> None:
        """Take note of what the server said of each."""
        late = set(cast("list[int]", reply)) if isinstance(reply, list) else set[int]()
        for number, told in enumerate(self._sent, 1):
            told.settle(LATE if number in late else True if late else reply)

    def fail(self, error: BusError) -> None:
        """Take note that none of it will be written."""
        for told in self._told:
            told.fail(error)


def _ends(told: Told, ahead_ms: float) -> int:
    return 0 if told.until is None else int(told.until * 1000 + ahead_ms)


class Teller:
    """Queues replies and lines of logs on one writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._open: dict[str, Frame] = {}

    def tell(self, key: str, fields: list[bytes], *, most: int, lease: Lease | None, timeout: float) -> Told:
        """Queue a reply, behind all that is queued; the stream keeps ``most`` entries."""
        told = Told(fields, lease=lease, timeout=timeout)
        if self._writer.queued >= MOST_WAITING:
            return self._refuse(told)
        frame = self._open.get(key)
        if frame is None or frame.full:
            frame = self._open[key] = Frame(key, most=most, among=self._open)
        frame.join(told)
        self._writer.put(frame)
        return told

    def keep(self, key: str, place: int, fields: list[bytes], *, lease: Lease | None, timeout: float) -> Line:
        """Queue a line of a log."""
        line = Line(key, place, fields, lease=lease, timeout=timeout)
        if self._writer.queued >= MOST_WAITING:
            return self._refuse(line)
        self._writer.put(line)
        return line

    def _refuse(self, told: T) -> T:
        told.fail(BusUnavailable(f"{self._writer.queued} replies wait for the state server"))
        return told
