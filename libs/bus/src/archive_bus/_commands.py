"""Commands on their way to a server, and what becomes of them."""

import asyncio
import time
from hashlib import sha1
from importlib.resources import files
from typing import Any, Protocol

from redis.exceptions import OutOfMemoryError, ResponseError

from archive_bus._errors import BusError, BusUnavailable, Busy
from archive_bus._link import Argument, packed

SCRIPTS = {
    path.name.removesuffix(".lua"): path.read_text()
    for path in (files("archive_bus") / "lua").iterdir()
    if path.name.endswith(".lua")
}
SHAS = {name: sha1(text.encode()).hexdigest() for name, text in SCRIPTS.items()}  # noqa: S324 - the server's own name for it


class Op(Protocol):
    """One command in the queue."""

    @property
    def done(self) -> bool:
        """Whether its outcome is known, so that it need not be sent (again)."""
        ...

    def leaves(self) -> bool:
        """Whether it is to be sent, now that its turn has come."""
        ...

    def text(self, ahead_ms: float) -> bytes:
        """Return it as it travels; ``ahead_ms`` leads from ``clock`` to that of the server.

        Raises:
            UnicodeEncodeError: it holds what UTF-8 cannot say.
        """
        ...

    def settle(self, reply: Any) -> None:
        """Take the reply in, or the ResponseError that it is."""
        ...

    def fail(self, error: BusError) -> None:
        """Take in why there will be no reply."""
        ...


class Call:
    """A command whose reply a future holds."""

    __slots__ = ("_args", "future")

    def __init__(self, args: tuple[Argument, ...], future: "asyncio.Future[Any]") -> None:
        self._args = args
        self.future = future

    @property
    def done(self) -> bool:
        return self.future.done()

    def leaves(self) -> bool:
        return not self.future.done()

    def text(self, ahead_ms: float) -> bytes:
        del ahead_ms
        return packed(*self._args)

    def settle(self, reply: Any) -> None:
        if self.future.done():
            return
        if isinstance(reply, ResponseError):
            self._refuse(reply)
        else:
            self.future.set_result(reply)

    def fail(self, error: BusError) -> None:
        if not self.future.done():
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        self.future.set_exception(error)
        self.future.exception()  # a waiter that has gone away is no reason for a warning


class Fenced(Call):
    """A script that may come too late: for the lease that covers it, or for whoever waits.

    ``until`` is the end of the lease, ``ends`` that of the wait by ``time.monotonic``, which lasts ``timeout`` seconds.
    """

    __slots__ = ("_timeout", "_until", "ends")

    def __init__(
        self, args: tuple[Argument, ...], future: "asyncio.Future[Any]", *, until: float | None, timeout: float
    ) -> None:
        super().__init__(args, future)
        self._until = until
        self._timeout = timeout
        self.ends = time.monotonic() + timeout

    def text(self, ahead_ms: float) -> bytes:
        args = self._args
        if self._until is not None:
            place = 3 + int(args[2])
            args = (*args[:place], int(self._until * 1000 + ahead_ms), *args[place + 1 :])
        return packed(*args)

    def expire(self) -> None:
        """End the wait."""
        self.fail(silent(self._timeout))

    def _refuse(self, error: Exception) -> None:
        super()._refuse(refusal(error) if isinstance(error, ResponseError) else error)


def silent(timeout: float) -> BusUnavailable:
    """Return what is told to those who have waited long enough."""
    return BusUnavailable(f"the server did not answer within {timeout:.1f} s")


def refusal(error: ResponseError) -> BusError:
    """Return what an error means that is about the command: a server that refuses is as unavailable as one away."""
    if isinstance(error, OutOfMemoryError):
        return Busy("the server's memory is full")
    return BusUnavailable(f"the server refuses: {error}")
