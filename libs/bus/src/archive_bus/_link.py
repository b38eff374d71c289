"""A connection that carries commands in bundles: one write, one wait, as many replies as there were commands.

redis-py opens it, lets us in and finds the master; then the socket is ours. What redis-py does beyond that for each
command and each reply (a task and a timer to write, another timer and a buffered stream to read, a retry policy around
both) costs several times what the bus itself needs.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# redis-py and hiredis leave replies and arguments without types.

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from hiredis import Reader, pack_command
from redis.asyncio.connection import AbstractConnection, ConnectionPool, DefaultParser
from redis.exceptions import BusyLoadingError, InvalidResponse, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

Argument = str | bytes | int
AWAY = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OSError)
"""What a server says, or does not say, when it will be back."""
DEMOTED = "UNBLOCKED force unblock from blocking operation, instance state changed"
"""What a master that becomes a replica says to those whom it kept waiting."""
SILENCE_S = 3.0
"""How long a server may take for a reply, beyond the time that it was asked to wait."""
_MORE = object()
"""What stands for a reply that has not come as a whole yet."""


def packed(*args: Argument) -> bytes:
    """Return a command as it travels. Raises UnicodeEncodeError for text that UTF-8 cannot say."""
    return pack_command(args)  # pyright: ignore[reportArgumentType] - declared for one argument, meant for any


class _Wire(asyncio.Protocol):
    """The end of a connection at which the replies to a bundle come in; an error among them is a value.

    A stream with a buffer, a lock for its drain and a task that reads it piece by piece costs more than all that the
    bus asks a server for.
    """

    def __init__(self) -> None:
        self._replies = Reader(protocolError=InvalidResponse, replyError=DefaultParser.parse_error, notEnoughData=_MORE)
        self._into: list[Any] = []
        self._wanted = 0
        self._answered: asyncio.Future[None] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings = 0.0
        self._until = math.inf

    def take(self, transport: asyncio.WriteTransport) -> None:
        """Read from an open connection from now on."""
        self._transport = transport
        transport.set_protocol(self)
        if transport.is_closing():
            self._transport = None

    def ask(self, commands: bytes, count: int, into: list[Any], *, within_s: float) -> "asyncio.Future[None]":
        """Send packed commands; the future ends when so many replies are in the list, or an error does it before."""
        loop = asyncio.get_running_loop()
        answered = self._answered = loop.create_future()
        self._until = loop.time() + within_s
        # The timer of the bundles before this one: one each would cost a tenth of a small bundle.
        if self._timer is None or self._rings > self._until:
            self._ring_at(self._until, loop)
        self._into, self._wanted = into, count
        if self._transport is None:
            self._fail(RedisConnectionError("the connection was closed"))
        else:
            self._transport.write(commands)
        return answered

    def data_received(self, data: bytes) -> None:
        replies, into = self._replies, self._into
        replies.feed(data)
        try:
            while len(into) < self._wanted and (reply := replies.gets()) is not _MORE:
                if isinstance(reply, RedisConnectionError):
                    self._fail(reply)
                    return
                into.append(reply)
        except RedisError as error:
            self._fail(error)
            return
        if self._answered and len(into) >= self._wanted:
            answered, self._answered = self._answered, None
            self._until = math.inf
            if not answered.done():
                answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(RedisConnectionError(f"the connection was lost: {exc or 'the server closed it'}"))

    def close(self) -> None:
        """Watch nothing any more."""
        self._until = math.inf
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _ring_at(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer:
            self._timer.cancel()
        self._rings = when
        self._timer = loop.call_at(when, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._until <= self._rings:
            self._fail(RedisTimeoutError("the server is silent"))
        elif self._until < math.inf:
            self._ring_at(self._until, loop)

    def _fail(self, error: Exception) -> None:
        answered, self._answered = self._answered, None
        if answered and not answered.done():
            answered.set_exception(error)


class Link:
    """One connection, opened when it is first needed and again after it was lost."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: AbstractConnection | None = None
        self._wire = _Wire()

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
        try:
            await connection.connect()
        except BaseException:  # also when cancelled: a connection half set up serves nobody
            await _closed(connection)
            raise
        if (task := asyncio.current_task()) and task.cancelling():
            await _closed(connection)
            raise asyncio.CancelledError  # redis-py lost it: a cancellation during its connect can vanish there
        self._wire = _Wire()
        self._wire.take(connection._writer.transport)  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess] # noqa: SLF001 - it tells no other way
        self._connection = connection

    async def call(self, *args: Argument, wait_s: float = 0.0) -> Any:
        """Send one command and return its reply, or raise the error that it is. Raises as bundle."""
        replies: list[Any] = []
        await self.bundle(packed(*args), 1, into=replies, wait_s=wait_s)
        reply = replies[0]
        if isinstance(reply, ResponseError) and DEMOTED in str(reply):
            await self.close()
            raise RedisConnectionError("the server is a master no more")
        if isinstance(reply, RedisError):
            raise reply
        return reply

    async def bundle(self, commands: bytes, count: int, *, into: list[Any], wait_s: float = 0.0) -> None:
        """Send packed commands and put their replies into a list, errors as they are.

        ``wait_s`` is how long the server was asked to wait. The list holds what came also when the connection is lost.

        Raises:
            Any of AWAY: the connection is lost, and closed.
        """
        if self._connection is None:
            await self.connect()
        try:
            await self._wire.ask(commands, count, into, within_s=SILENCE_S + wait_s)
        except BaseException:
            # Also when cancelled: a reply that is still to come would be taken for that of the next command.
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        self._wire.close()
        if connection:
            await _closed(connection)


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
