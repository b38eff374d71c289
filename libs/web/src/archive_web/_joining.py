"""Head and body of an answer in one piece."""

from collections.abc import Awaitable, Generator, Iterable
from typing import Any, cast

from starlette.types import Message, Send
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

_FRAMING = frozenset({b"connection", b"transfer-encoding"})


class _Done:
    """What is over before anybody awaits it: a coroutine would be made, entered and left for nothing."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return _OVER


_OVER = cast("Generator[Any, None, None]", iter(()))
_DONE = _Done()


class Joining:
    """The ``send`` of one request: writes the head of an answer together with the first of its body.

    uvicorn writes the head by itself: two system calls here and two packets for the client, which wakes up for each.
    Only an answer that tells its length waits with its head, since its body follows at once; all else is uvicorn's.
    """

    __slots__ = ("_cycle", "_head", "_length", "_send")

    def __init__(self, cycle: RequestResponseCycle, send: Send) -> None:
        self._cycle = cycle
        self._send = send
        self._head: Message | None = None
        self._length = 0

    def __call__(self, message: Message) -> Awaitable[None]:
        head, self._head = self._head, None
        if message["type"] == "http.response.start":
            length = self._length_of(message)
            if length is None:
                return self._send(message)
            self._head, self._length = message, length
            return _DONE
        cycle = self._cycle
        if head is None:
            return self._send(message)
        if cycle.disconnected or cycle.flow.write_paused or message.get("more_body", False):
            return self._apart(head, message)
        return self._at_once(head, message)

    def _length_of(self, message: Message) -> int | None:
        """Return the length that a head tells, when all of its framing is left to us and nothing was written yet."""
        cycle, length = self._cycle, None
        if cycle.response_started or cycle.scope["method"] == "HEAD":
            return None
        for name, value in message["headers"]:
            lower = name.lower()
            if lower == b"content-length":
                length = int(value)
            elif lower in _FRAMING:
                return None
        return length

    async def _apart(self, head: Message, message: Message) -> None:
        await self._send(head)
        await self._send(message)

    def _at_once(self, head: Message, message: Message) -> Awaitable[None]:
        cycle, body = self._cycle, message.get("body", b"")
        if len(body) != self._length:
            return self._apart(head, message)  # uvicorn says what is wrong
        parts = _head_of(head, cycle.default_headers)
        parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        parts.append(body)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = cycle.chunked_encoding = False
        cycle.transport.write(b"".join(parts))
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return _DONE


def _head_of(message: Message, default: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    headers: list[tuple[bytes, bytes]] = [*default, *message["headers"]]
    if HEADER_RE.search(b"".join([name for name, _ in headers])):
        raise RuntimeError("Invalid HTTP header name.")
    if HEADER_VALUE_RE.search(b"".join([value for _, value in headers])):
        raise RuntimeError("Invalid HTTP header value.")
    parts = [STATUS_LINE[message["status"]]]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    return parts
