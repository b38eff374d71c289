"""A connection that carries commands in bundles: one write, one wait, as many replies as there were commands.

redis-py opens it, lets us in and finds the master; what it does beyond that for each command and each reply (a task
and a timer to write, another timer to read, a retry policy around both) costs several times what the bus itself needs.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# redis-py and hiredis leave replies and arguments without types.

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from hiredis import pack_command
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio.connection import AbstractConnection, ConnectionPool, DefaultParser
from redis.exceptions import BusyLoadingError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

Argument = str | bytes | int
AWAY = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OSError)
"""What a server says, or does not say, when it will be back."""
SILENCE_S = 3.0
"""How long a server may take for a reply, beyond the time that it was asked to wait."""
AT_ONCE = 32 * 1024
"""Bytes that leave without waiting for the server to read: below what a transport keeps before it makes us wait."""


def packed(*args: Argument) -> bytes:
    """Return a command as it travels. Raises UnicodeEncodeError for text that UTF-8 cannot say."""
    return pack_command(args)  # pyright: ignore[reportArgumentType] - declared for one argument, meant for any


class _Bundles(DefaultParser):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass] - chosen at import
    """Reads the replies to a whole bundle; an error among them is a value."""

    __slots__ = ()

    async def read_bundle(self, into: list[Any], wanted: int) -> None:
        """Put so many replies into a list."""
        if not self._connected:
            raise RedisConnectionError("the connection was closed")
        reader = self._reader
        while len(into) < wanted:
            reply = reader.gets()
            if reply is NOT_ENOUGH_DATA:
                await self.read_from_socket()
            elif isinstance(reply, RedisConnectionError):
                raise reply
            else:
                into.append(reply)

    def stall(self) -> None:
        """End the read at hand with a TimeoutError."""
        if self._stream:
            self._stream.set_exception(TimeoutError())


class Link:
    """One connection, opened when it is first needed and again after it was lost."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: AbstractConnection | None = None
        self._parser: _Bundles | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings = 0.0
        self._until = math.inf

    @property
    def connected(self) -> bool:
        """Whether the next command finds a connection."""
        return self._connection is not None

    async def connect(self) -> None:
        """Open the connection.

        Raises:
            AuthenticationError: the server does not let us in.
            Any of AWAY: it is not there.
        """
        connection = self._pool.make_connection()
        connection.set_parser(self._new_parser)  # pyright: ignore[reportArgumentType] - it calls it, whatever it is
        try:
            await connection.connect()
        except BaseException:
            await _closed(connection)
            raise
        if (task := asyncio.current_task()) and task.cancelling():
            await _closed(connection)
            raise asyncio.CancelledError  # redis-py lost it: a cancellation during its connect can vanish there
        # From here on the time of a whole bundle is taken, not that of each write and each reply.
        connection.socket_timeout = None
        self._connection = connection

    async def call(self, *args: Argument, wait_s: float = 0.0) -> Any:
        """Send one command and return its reply, or raise the error that it is. Raises as bundle."""
        replies: list[Any] = []
        await self.bundle(packed(*args), 1, into=replies, wait_s=wait_s)
        if isinstance(replies[0], RedisError):
            raise replies[0]
        return replies[0]

    async def bundle(self, commands: bytes, count: int, *, into: list[Any], wait_s: float = 0.0) -> None:
        """Send packed commands and put their replies into a list, errors as they are.

        ``wait_s`` is how long the server was asked to wait. The list holds what came also when the connection is lost.

        Raises:
            Any of AWAY: the connection is lost, and closed.
        """
        if self._connection is None:
            await self.connect()
        connection, parser = self._connection, self._parser
        assert connection is not None
        assert parser is not None
        try:
            if len(commands) <= AT_ONCE:
                self._listen(SILENCE_S + wait_s)
                await connection.send_packed_command(commands, check_health=False)
                await parser.read_bundle(into, count)
            else:
                async with asyncio.timeout(SILENCE_S + wait_s):
                    await connection.send_packed_command(commands, check_health=False)
                    await parser.read_bundle(into, count)
        except TimeoutError:
            await self.close()
            raise RedisTimeoutError("the server is silent") from None
        except BaseException:
            # Also when cancelled: a reply that is still to come would be taken for that of the next command.
            await self.close()
            raise
        self._until = math.inf

    def _listen(self, limit_s: float) -> None:
        """Watch a bundle by the timer of those before it: one each would cost a tenth of a small bundle."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + limit_s
        if self._timer is None or self._rings > self._until:
            self._ring_at(self._until, loop)

    def _ring_at(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer:
            self._timer.cancel()
        self._rings = when
        self._timer = loop.call_at(when, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._until <= self._rings and self._parser:
            self._parser.stall()
        elif self._until < math.inf:
            self._ring_at(self._until, loop)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        self._until = math.inf
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if connection:
            await _closed(connection)

    def _new_parser(self, socket_read_size: int) -> _Bundles:
        self._parser = _Bundles(socket_read_size)
        return self._parser


class Links:
    """Connections to one server for those who read now and then; none waits for another's blocking read."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._idle: list[Link] = []
        self._ended = False

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncGenerator[Link, None]:
        """Lend a connection that nobody else uses."""
        link = self._idle.pop() if self._idle else Link(self._pool)
        try:
            yield link
        finally:
            if self._ended:
                await link.close()
            elif link.connected:
                self._idle.append(link)

    async def close(self) -> None:
        """Close what nobody uses, and the rest once it is given back."""
        self._ended = True
        while self._idle:
            await self._idle.pop().close()


async def _closed(connection: AbstractConnection) -> None:
    with contextlib.suppress(RedisError, OSError):
        await connection.disconnect(nowait=True)


def entries_of(rows: Sequence[Any]) -> list[tuple[str, dict[bytes, bytes]]]:
    """Return (id, fields) of entries as the server writes them; those of a deleted entry are none."""
    return [(name.decode(), _paired(flat) if flat else {}) for name, flat in rows]


def replies_of(rows: Sequence[Any]) -> list[tuple[str, dict[bytes, bytes]]]:
    """Return (entry id, fields) of replies: an entry holds as many as travelled together, each of them from its id on.

    No two fields of a reply have one name.
    """
    found: list[tuple[str, dict[bytes, bytes]]] = []
    for name, flat in rows:
        entry_id = name.decode()
        starts = [place for place in range(0, len(flat), 2) if flat[place] == b"id"] or [0]
        ends = (*starts[1:], len(flat))
        found += [(entry_id, _paired(flat[start:end])) for start, end in zip(starts, ends, strict=True)]
    return found


def _paired(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    parts = iter(flat)
    return dict(zip(parts, parts, strict=False))  # the server writes pairs: to prove it costs a third more


def only_stream(reply: Any) -> Sequence[Any]:
    """Return what was read of the one stream that was asked for; RESP3 has a map where RESP2 has pairs."""
    if not reply:
        return ()
    return next(iter(reply.values())) if isinstance(reply, dict) else reply[0][1]
