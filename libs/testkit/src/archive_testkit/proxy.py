"""A TCP proxy that stands between a client and a server and misbehaves when told to.

What a network does cannot be had from a server on loopback: connections that break in the middle of a reply, and
connections that stay open while nothing comes through (a half-open socket, a firewall that drops packets).
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024


class TcpProxy:
    """Forwards a free loopback port to a server. Enter it to listen.

    ``cut`` breaks every connection once; ``refuse`` lets nobody connect; ``swallow`` keeps connections open and drops
    what is sent in both directions; ``heal`` ends both. What was swallowed never arrives, so connections that lived
    through it are broken when it heals, as a peer's reset would do.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        self._upstream = (host, port)
        self._links: set[asyncio.StreamWriter] = set()
        self._refusing = False
        self._swallowing = False
        self.port = 0
        self.connections = 0

    @property
    def url(self) -> str:
        """The address for clients of Redis."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Break every connection now, whatever is on its way."""
        for link in tuple(self._links):
            link.transport.abort()

    def refuse(self) -> None:
        """Break every connection and take no new one until healed."""
        self._refusing = True
        self.cut()

    def swallow(self) -> None:
        """Let nothing through in either direction, on old connections and new ones, until healed."""
        self._swallowing = True

    def heal(self) -> None:
        """Forward again; connections that lost bytes are broken."""
        lossy, self._swallowing, self._refusing = self._swallowing, False, False
        if lossy:
            self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._links.add(writer)
        try:
            if self._refusing:
                writer.transport.abort()
            elif self._swallowing:
                await self._drop(reader)
            else:
                await self._forward(reader, writer)
        except OSError:
            writer.transport.abort()
        finally:
            self._links.discard(writer)
            writer.close()

    async def _drop(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(CHUNK):
            pass

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        self._links.add(up_writer)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pipe(reader, up_writer))
                both.create_task(self._pipe(up_reader, writer))
        finally:
            self._links.discard(up_writer)
            up_writer.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if not self._swallowing:
                    writer.write(data)
                    await writer.drain()
        # One direction that ends takes the other with it: Redis knows no half-closed connection.
        writer.transport.abort()
