"""The HTTP server: uvicorn on a socket of its own."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from archive_telemetry import SettingError
from archive_web._joining import Joining
from archive_web._line import Line

KEEP_ALIVE_S = 75
BACKLOG = 2048
HEAD_S = 10.0
"""For how long the head of a request may come in pieces, or a new connection stay silent."""
MOST_HEAD = 64 * 1024
"""Bytes of a head that has not ended; what came with its end, or with the request before it, is not counted."""
REST_S = 60.0
"""For how long the rest of a body may come whose answer was given early: most clients send all before they read."""
LINGER_S = 0.5
"""For how long a server that ends waits for clients to leave, and for requests of those that have just come."""


_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 37\r\nconnection: close\r\n\r\nThe head of the request is too large."
)


class _State(ServerState):
    """What all connections know; ``leaving`` is set when the server is about to end."""

    leaving = False


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on heads and on what nobody reads any more, and a better farewell.

    A connection costs its client nothing; without the limits a few thousand of them that never finish a line, or a body
    that was answered, would use up every descriptor of the process, or one that never ends its head all memory. And
    whose request may be on its way when the server ends gets an answer, the last one of the connection.
    """

    server_state: _State
    _head: asyncio.TimerHandle | None = None
    _heading = False
    _head_size = 0
    _rest: asyncio.TimerHandle | None = None
    _line: Line

    def data_received(self, data: bytes) -> None:
        head, cycle, rest = self._head, self.cycle, self._rest
        # Also while the rest of a body comes whose answer was given early uvicorn waits for the next request.
        idle = self.timeout_keep_alive_task is not None and not (cycle and cycle.more_body)
        super().data_received(data)
        if self._head is None and (self._heading or (idle and self.cycle is cycle)):
            # Not for each: most heads come in one piece. Blank lines before one begin no request, but end the watch
            # that uvicorn keeps over an idle connection.
            self._expect_head()
        elif head is not None and head is self._head:
            self._head_size += len(data)
            if self._head_size > MOST_HEAD and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()
        if rest and self._rest is None and self.cycle is cycle and not self._heading:
            self._wait_for_another()  # uvicorn does when the answer ends, and stops with the next byte

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._line = Line()
        self._expect_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._line.whole = False
        self._line.carries(self.scope)
        self._heading = True

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()
        if self.server_state.leaving:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._rest_came()
        self._line.whole = True
        if not self.pipeline:
            # A large body makes uvicorn stop reading until more of it is wanted: nobody would see the client leave.
            self.flow.resume_reading()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(
            cycle,
            lambda scope, receive, send: app(scope, receive, Joining(cycle, send)),  # type: ignore[arg-type]
        )

    def shutdown(self) -> None:
        if self._head is None:
            super().shutdown()
        else:
            self._head.cancel()
            self._head = self.loop.call_later(LINGER_S, self.transport.close)

    def on_response_complete(self) -> None:
        early = not self.pipeline and self.cycle.more_body  # a request that waits has come after a whole body
        super().on_response_complete()
        if early and not self.transport.is_closing():
            self._rest = self.loop.call_later(REST_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._rest_came()
        super().connection_lost(exc)
        self._line.lose()

    def _expect_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_S, self.transport.close)

    def _head_came(self) -> None:
        self._heading = False
        if self._head is not None:
            self._head.cancel()
            self._head = None
            self._head_size = 0

    def _rest_came(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
            self.cycle.more_body = False

    def _wait_for_another(self) -> None:
        if not self.transport.is_closing():
            self._unset_keepalive_if_required()
            after = self.timeout_keep_alive
            self.timeout_keep_alive_task = self.loop.call_later(after, self.timeout_keep_alive_handler)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own, and tells this server when to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state: _State = _State()
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def linger(self) -> None:
        """Answer on, and let every answer be the last of its connection, so that clients go elsewhere by themselves."""
        self.server_state.leaving = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self.server_state.connections:  # noqa: ASYNC110 - a set of uvicorn's, which sets no event
                    await asyncio.sleep(0.02)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.server_state.leaving = True
        # Without a pause between the two: a closed listener resets what it has in its queue.
        late = [connection for listening in sockets or () for connection in _queued(listening)]
        for server in self.servers:
            server.close()
        for connection in late:
            with contextlib.suppress(OSError):  # its client has left
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        await super().shutdown(sockets)

    def _protocol(self) -> _Protocol:
        return _Protocol(self.config, self.server_state, self.lifespan.state)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class HttpServer:
    """Serves an application. ``url`` is known once it listens; ``drain_s`` bounds how long requests may go on.

    ``service`` is the name by which the settings of the address are called when it cannot be used.
    """

    def __init__(self, app: ASGIApp, *, service: str, host: str, port: int, drain_s: float) -> None:
        self._service = service
        self._host = host
        self._port = port
        self.url = ""
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, int(drain_s)),
                backlog=BACKLOG,
            )
        )

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None, None]:
        """Listen; on leaving send clients elsewhere, then accept nothing more, and let what was accepted finish.

        Raises:
            SettingError: the address cannot be used.
        """
        listening = self._bind()
        self.url = _url(listening)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._server.serve(sockets=[listening]))
                await self._server.listening.wait()
                try:
                    yield
                    await self._server.linger()
                finally:
                    self._server.should_exit = True
        finally:
            with contextlib.suppress(OSError):
                listening.close()
            self.url = ""

    def _bind(self) -> socket.socket:
        """Return a socket that replicas on this machine share: the kernel spreads connections over them."""
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            # With the protocol spelled out, asyncio turns Nagle's delay off for what is accepted here.
            bound = socket.socket(family, kind, protocol)
            try:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                bound.bind(address)
            except OSError:
                bound.close()
                raise
        except OSError as error:
            prefix = self._service.upper().replace("-", "_")
            raise SettingError(
                f"the {self._service} cannot listen on {self._host}:{self._port}: {error.strerror}",
                next_step=f"set {prefix}_HOST to an address of this machine and {prefix}_PORT to a free port, or 0",
            ) from error
        bound.setblocking(False)
        return bound


def _queued(listening: socket.socket) -> Iterator[socket.socket]:
    """Yield connections that are made and that nobody has accepted yet."""
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        connection.setblocking(False)
        yield connection


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if listening.family == socket.AF_INET6 else f"http://{host}:{port}"
