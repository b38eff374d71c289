# pyright: reportUnknownVariableType=false
# aiohappyeyeballs leaves open what its addresses hold.
"""The part of HTTP/1.1 that a call to an engine needs: one request on a connection, its answer piece by piece.

A general client has redirects, cookies, proxies and compression, none of which an engine needs: aiohttp takes 90 us of
CPU for a call where this takes 37, and 130 where 65 on a crowded machine, 3 to 5 % of a request's way through all
processes.
"""

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Final, cast

from aiohappyeyeballs import start_connection
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from multidict import CIMultiDict
from yarl import URL

from archive_engine.adapters.silence import Silence

_MOST_WAITING: Final = 256 * 1024
"""Bytes of a body that nobody has read, above which the server has to wait."""
_MOST_HEAD: Final = 64 * 1024
"""Bytes of a head that has not ended; what came with its end is not counted."""
_NEXT_ADDRESS_S: Final = 0.25
"""How long one address of a server is tried before the next is tried beside it (RFC 8305, section 8)."""


class WireError(OSError):
    """The connection broke, or what came over it is no answer."""


class StaleConnection(WireError):
    """The server has hung up a kept connection with nothing answered, most likely before it had the request."""


class NotConnected(WireError):
    """No connection could be made: nothing was sent."""


class Answer:
    """The answer to one request: ``head`` is done when its head is complete, ``piece`` waits for more of its body."""

    def __init__(self, wire: "Wire") -> None:
        self._wire = wire
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._ended = False
        self._over = False
        self._error: OSError | None = None
        self._arrived: asyncio.Future[None] | None = None
        self.head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.reason = ""
        self.headers: CIMultiDict[str] = CIMultiDict()

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def at_end(self) -> bool:
        """Whether all of the body was read."""
        return self._ended and not self._pieces

    async def piece(self) -> bytes:
        """Return what has come of the body, waiting for it when nothing has; empty at the end.

        Raises:
            WireError: the connection broke before the end.
            OSError: what the wait was interrupted by.
        """
        while not self._pieces:
            if self._error:
                raise self._error
            if self._ended:
                return b""
            self._arrived = asyncio.get_running_loop().create_future()
            try:
                await self._arrived
            finally:
                self._arrived = None
        return self.here()

    def here(self) -> bytes:
        """Return what has come of the body and was not read yet; empty when nothing has."""
        if not self._pieces:
            return b""
        whole = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        if self._waiting > _MOST_WAITING:
            self._wire.resume()
        self._waiting = 0
        return whole

    def listen(self, limit_s: float) -> None:
        """Begin to wait for the head or a piece; a TimeoutError ends the wait after so many seconds of silence."""
        self._wire.listen(self, limit_s)

    def heard(self) -> None:
        """End the wait."""
        self._wire.heard(self)

    def close(self) -> None:
        """Hang up, unless the answer has come to its end: then the connection is free again already."""
        if not self._over:
            self._wire.drop()

    def interrupt(self, error: OSError) -> None:
        """Let whoever waits for the head or a piece have an error instead, unless it has come in this moment."""
        if not self.head.done():
            self.head.set_exception(error)
            return
        if self._pieces or (self._arrived and self._arrived.done()):
            return
        self._error = error
        self._wake()

    def add(self, piece: bytes) -> bool:
        """Take in a part of the body. False: the reader is behind."""
        self._pieces.append(piece)
        self._waiting += len(piece)
        self._wake()
        return self._waiting <= _MOST_WAITING

    def end(self, error: WireError | None = None) -> None:
        """Take note that nothing follows, or why the rest is lost."""
        self._over = True
        self._ended, self._error = error is None, error or self._error
        if error and not self.head.done():
            self.head.set_exception(error)
        self._wake()

    def _wake(self) -> None:
        if self._arrived and not self._arrived.done():
            self._arrived.set_result(None)


class Wire(asyncio.Protocol):
    """One connection; ``free`` is called with it whenever it could carry another request."""

    def __init__(self, free: "Callable[[Wire], None]") -> None:
        self._free = free
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._used = False
        self._head_size = 0
        self._silence = Silence(self._interrupt)
        self.idle_since = 0.0

    @property
    def open(self) -> bool:
        """Whether the server has not hung up."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes) -> Answer:
        """Send a request; the head of the answer is awaited next, and fails with a WireError."""
        answer = self._answer = Answer(self)
        self._head_size = 0
        if self._transport is None:
            self._hung_up()
        else:
            self._transport.write(request)
        return answer

    def drop(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()
        self._break(WireError("the call was given up"))

    def listen(self, answer: Answer, limit_s: float) -> None:
        """Watch how long the server says nothing, for an answer that has not come to its end."""
        if self._answer is answer:
            self._silence.listen(limit_s)

    def heard(self, answer: Answer) -> None:
        """Watch no more for this answer; the connection may have the next one by now."""
        if self._answer is answer:
            self._silence.heard()

    def _interrupt(self, error: OSError) -> None:
        if self._answer:
            self._answer.interrupt(error)

    def resume(self) -> None:
        """Read on after a pause."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # -- of the connection -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self.drop()  # nobody has asked: what this is the answer to, nobody can tell
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._break(WireError(f"what came is no HTTP answer: {error}"))
            self.drop()
            return
        if not answer.status:
            self._head_size += len(data)
            if self._head_size > _MOST_HEAD:
                self._break(WireError(f"the head of its answer is over {_MOST_HEAD} bytes"))
                self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._silence.close()
        answer = self._answer
        if exc is None and answer and answer.status and not _has_length(answer):
            self._answer = None
            answer.end()
        else:
            self._hung_up(exc)

    # -- of the parser -----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._answer is None:
            self.drop()  # more than was asked for: the next request would get the rest of it as its answer

    def on_status(self, status: bytes) -> None:
        if self._answer:
            self._answer.reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer:
            self._answer.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        answer = self._answer
        status = self._parser.get_status_code()
        if answer is None or status < 200:  # "go on" and "early hints" announce the answer that follows
            return
        answer.status = status
        if not answer.head.done():
            answer.head.set_result(None)

    def on_body(self, body: bytes) -> None:
        if self._answer and not self._answer.add(body) and self._transport:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        answer = self._answer
        if answer is None:
            return
        if not answer.status:
            answer.headers.clear()
            answer.reason = ""
            return
        self._answer = None
        self._silence.heard()
        self._used = True
        answer.end()
        if self._parser.should_keep_alive() and self.open:
            self.resume()
            self._free(self)
        elif self._transport:
            self._transport.close()

    def _hung_up(self, why: Exception | None = None) -> None:
        answer = self._answer
        stale = self._used and answer is not None and not (answer.status or self._head_size)
        self._break((StaleConnection if stale else WireError)(str(why or "the server has hung up")))

    def _break(self, error: WireError) -> None:
        answer, self._answer = self._answer, None
        self._silence.heard()
        if answer:
            answer.end(error)


def _has_length(answer: Answer) -> bool:
    """Whether the answer's head says where its body ends; one without ends with the connection."""
    return "content-length" in answer.headers or "transfer-encoding" in answer.headers


async def connect(url: URL, *, within_s: float, free: Callable[[Wire], None]) -> Wire:
    """Open a connection to the server of an address.

    Raises:
        NotConnected: there is none.
    """
    if not (url.host and url.port) or url.scheme not in {"http", "https"}:
        raise NotConnected(f"{url} is no address of a server")
    tls = _trust() if url.scheme == "https" else None
    try:
        async with asyncio.timeout(within_s):
            connected = await _connected(url.host, url.port)
            _, wire = await asyncio.get_running_loop().create_connection(
                lambda: Wire(free), sock=connected, ssl=tls, server_hostname=url.host if tls else None
            )
    except TimeoutError:
        raise NotConnected(f"no answer within {within_s:g} s") from None
    except ConnectionError as error:
        raise NotConnected(os.strerror(error.errno) if error.errno else str(error)) from error
    except (OSError, UnicodeError) as error:
        raise NotConnected(str(error)) from error
    return wire


async def _connected(host: str, port: int) -> socket.socket:
    """Return a socket connected to the address of a host that answers first.

    The loop's own way is one address after the other: one that never answers would use up all the time.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    try:
        return await start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS_S)
    except RuntimeError as error:  # uvloop's, for some addresses
        raise OSError(str(error)) from error


@cache
def _trust() -> ssl.SSLContext:
    """Return the system's certificates, read on the first call: that takes as long as many requests."""
    return ssl.create_default_context()
