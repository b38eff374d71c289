"""The client's end of a request: whether it is still there, and what it sends."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType

from starlette.types import Receive, Scope

from archive_gateway.domain.errors import TooLarge, TooSlow
from archive_web import BodyTooSlow, Line, bounded, line_of


class ClientLeft(Exception):
    """The client closed the connection before it had its answer."""


def while_connected(scope: Scope) -> "Attended":
    """Return a block that ends with ClientLeft as soon as the client disconnects.

    The task at hand is cancelled, as ``asyncio.timeout`` does it. An exception of the block leaves as it is.
    """
    return Attended(line_of(scope))


class Attended:
    """A block that its client waits for, on the other end of a line."""

    # A class: a generator with its decorator costs several times as much, and each request has one.
    __slots__ = ("_before", "_left", "_line", "_task")

    def __init__(self, line: Line) -> None:
        self._line = line
        self._left = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._line.lost:
            raise ClientLeft
        self._task, self._before = task, task.cancelling()
        self._line.on_lost = self._leave

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line.on_lost == self._leave:
            self._line.on_lost = None
        if self._left and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise ClientLeft from None

    def _leave(self) -> None:
        self._left = True
        self._task.cancel()


async def chunks(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the body as it comes.

    Raises:
        ClientLeft: it stays incomplete.
        TooSlow: it comes in drips.
    """
    receiving, more = bounded(receive), True
    while more:
        part, more = await _part(receiving)
        if part:
            yield part


async def _part(receiving: Receive) -> tuple[bytes, bool]:
    """Return what has come of a body, and whether more is to come. Raises as chunks."""
    try:
        message = await receiving()
    except BodyTooSlow as error:
        raise TooSlow(error.message, next_step=error.next_step) from None
    if message["type"] == "http.disconnect":
        raise ClientLeft
    return message.get("body", b""), message.get("more_body", False)


async def whole(scope: Scope, receive: Receive, *, limit: int, announced: bytes | None) -> bytes:
    """Return the body, refusing early what says of itself that it is too large.

    Raises:
        TooLarge: more than ``limit`` bytes.
        ClientLeft: the body stays incomplete.
    """
    check_announced(announced, limit=limit, setting="GATEWAY_MAX_BODY_MB")
    # What has come need not be timed; most bodies come with their heads.
    receiving, more = receive if line_of(scope).whole else bounded(receive), True
    parts: list[bytes] = []
    size = 0
    while more:
        part, more = await _part(receiving)
        size += len(part)
        if size > limit:
            raise TooLarge("The request body", limit=limit, setting="GATEWAY_MAX_BODY_MB")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def check_announced(announced: bytes | None, *, limit: int, setting: str, framing: int = 0) -> None:
    """Raise TooLarge when ``content-length`` is over the limit and what may frame it: not a byte need be sent then."""
    if announced is not None and announced.isdigit() and int(announced) > limit + framing:
        raise TooLarge("The request body", limit=limit, setting=setting)
