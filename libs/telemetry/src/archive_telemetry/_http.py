"""The smallest HTTP/1.1 responder that probes and scrapers need.

A web framework would cost every worker process several megabytes for four read-only paths.
"""

import asyncio
import errno
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

from archive_telemetry._errors import HealthPortError

_HEAD_BYTES = 8192
_HEAD_S = 5.0
_ANSWER_S = 10.0
_CONNECTIONS = 64
_RETRY_AFTER_S = 2
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A status and a body."""

    status: HTTPStatus
    content_type: str
    body: bytes

    def encode(self, *, with_body: bool) -> bytes:
        """Return the response as it goes over the wire; HEAD has the headers only."""
        unavailable = self.status is HTTPStatus.SERVICE_UNAVAILABLE
        later = f"retry-after: {_RETRY_AFTER_S}\r\n" if unavailable else ""
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"content-type: {self.content_type}\r\n"
            f"content-length: {len(self.body)}\r\n"
            f"cache-control: no-store\r\n{later}connection: close\r\n\r\n"
        ).encode("ascii")
        return head + self.body if with_body else head


Route = Callable[[], Awaitable[Reply]]


@asynccontextmanager
async def serve(routes: Mapping[str, Route], *, host: str, port: int) -> AsyncGenerator[int]:
    """Serve GET and HEAD of `routes`; yields the bound port (`port` 0 takes a free one).

    Raises HealthPortError. One request a connection, at most 64 connections, 8 KiB of headers, 5 s to send them.
    """
    responder = _Responder(routes)
    try:
        server = await asyncio.start_server(responder.connected, host, port, limit=_HEAD_BYTES)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        raise HealthPortError(
            f"the health port {host}:{port} cannot be bound: {error.strerror}",
            next_step="choose another port, or 0 for any free one",
        ) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        responder.abort()
        await server.wait_closed()


class _Responder:
    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes
        self._open: set[asyncio.StreamWriter] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= _CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            async with asyncio.timeout(_HEAD_S + _ANSWER_S):
                writer.write(await self._answer(reader))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            self._open.discard(writer)

    def abort(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(_HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except (asyncio.IncompleteReadError, TimeoutError):
            return _plain(HTTPStatus.REQUEST_TIMEOUT)
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _plain(HTTPStatus.BAD_REQUEST)
        method, target, _version = words
        if method not in ("GET", "HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED)
        return await self._routed(target.partition("?")[0].rstrip("/"), with_body=method == "GET")

    async def _routed(self, path: str, *, with_body: bool) -> bytes:
        route = self._routes.get(path)
        if route is None:
            return _plain(HTTPStatus.NOT_FOUND)
        try:
            return (await route()).encode(with_body=with_body)
        except Exception:  # an edge: who asks gets an answer, and the next request is served
            _logger.exception("health request failed", extra={"path": path})
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)


def _plain(status: HTTPStatus) -> bytes:
    body = f"{status.phrase}\n".encode("ascii")
    return Reply(status=status, content_type="text/plain; charset=utf-8", body=body).encode(with_body=True)
