"""One connection that many callers write through: the commands of a loop turn travel as one pipeline."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from archive_bus._errors import BusUnavailable, ServerTooOld, WrongPassword
from archive_bus._lease import clock

log = logging.getLogger(__name__)

Argument = str | bytes | int
AWAY = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OSError)
"""What a server says, or does not say, when it will be back."""
MOST_A_PIPELINE = 512
OLDEST = (7, 0)
REPLICA_WAIT_MS = 1000
RECONNECT_S = (0.02, 0.05, 0.1, 0.2, 0.4)

SCRIPTS = {
    path.name.removesuffix(".lua"): path.read_text()
    for path in (files("archive_bus") / "lua").iterdir()
    if path.name.endswith(".lua")
}


class _Op:
    __slots__ = ("args", "future", "until")

    def __init__(self, args: tuple[Argument, ...], future: "asyncio.Future[Any]", until: float | None) -> None:
        self.args = args
        self.future = future
        self.until = until


class Writer:
    """Sends commands in order over a connection of its own and survives the loss of it.

    A command that was sent when the connection broke is sent again: callers use it for what may safely run twice.
    """

    def __init__(self, pool: ConnectionPool, *, name: str, replicas: int = 0) -> None:
        self._replicas = replicas
        self._pool = pool
        self._name = name
        self._queue: deque[_Op] = deque()
        self._wake = asyncio.Event()
        self._shas: dict[str, str] = {}
        self._ahead_ms = 0.0
        self._connection: AbstractConnection | None = None
        self._stopping = False

    async def run(self) -> None:
        """Send what is queued until stopped, then what is left."""
        failures = 0
        while not (self._stopping and not self._queue):
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = self._take()
            try:
                await self._exchange(batch)
                failures = 0
            except (AuthenticationError, ServerTooOld) as error:
                await self._give_up(batch, error)
            except AWAY as error:
                if failures == 0:
                    log.warning("%s: the server is away (%s); trying again", self._name, error)
                self._queue.extendleft(op for op in reversed(batch) if not op.future.done())
                await self._disconnect()
                if self._stopping:
                    break
                await asyncio.sleep(RECONNECT_S[min(failures, len(RECONNECT_S) - 1)])
                failures += 1
        await self._disconnect()
        for op in self._queue:
            if not op.future.done():
                op.future.set_exception(BusUnavailable("the connection was closed before the server answered"))
                op.future.exception()

    async def _give_up(self, batch: Sequence[_Op], error: Exception) -> None:
        """Say at once what waiting does not mend."""
        cause = error if isinstance(error, ServerTooOld) else WrongPassword(f"the server refuses to let us in: {error}")
        for op in batch:
            if not op.future.done():
                op.future.set_exception(cause)
                op.future.exception()
        await self._disconnect()

    def stop(self) -> None:
        """Let ``run`` end once the queue is empty, or at once when the server is away."""
        self._stopping = True
        self._wake.set()

    def send(self, *args: Argument) -> "asyncio.Future[Any]":
        """Queue a command; the future holds its reply or its ResponseError."""
        return self._put(_Op(args, asyncio.get_running_loop().create_future(), None))

    def fenced(
        self, name: str, keys: Sequence[str], args: Sequence[Argument], *, until: float | None
    ) -> "asyncio.Future[Any]":
        """Queue a script whose first argument is the end of a lease.

        ``until`` is by ``clock`` and reaches the script as ms by the server's clock; None as 0.
        """
        parts = ("EVALSHA", name, len(keys), *keys, 0, *args)
        return self._put(_Op(parts, asyncio.get_running_loop().create_future(), until))

    def _put(self, op: _Op) -> "asyncio.Future[Any]":
        self._queue.append(op)
        self._wake.set()
        return op.future

    def script(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> "asyncio.Future[Any]":
        """Queue a script of the lua folder."""
        return self.send("EVALSHA", name, len(keys), *keys, *args)

    async def call(self, *args: Argument, timeout: float) -> Any:
        """Send a command and wait for its reply. Raises BusUnavailable when none comes in time."""
        return await within(self.send(*args), timeout)

    def _take(self) -> list[_Op]:
        batch: list[_Op] = []
        while self._queue and len(batch) < MOST_A_PIPELINE:
            op = self._queue.popleft()
            if not op.future.done():
                batch.append(op)
        return batch

    async def _exchange(self, batch: Sequence[_Op]) -> None:
        if not batch:
            return
        connection = self._connection or await self._connect()
        commands = [self._resolve(op) for op in batch]
        if not self._replicas:
            await connection.send_packed_command(connection.pack_commands(commands))
            for op in batch:
                _settle(op, await self._read(connection))
            return
        commands.append(("WAIT", self._replicas, REPLICA_WAIT_MS))
        await connection.send_packed_command(connection.pack_commands(commands))
        replies = [await self._read(connection) for _ in batch]
        # Told before a replica has it, the caller would believe what a failover forgets.
        if await _reply(connection) < self._replicas:
            raise RedisConnectionError("no replica has confirmed in time")
        for op, reply in zip(batch, replies, strict=True):
            _settle(op, reply)

    async def _read(self, connection: AbstractConnection) -> Any:
        """Return a reply, or the error that stands for one."""
        try:
            return await _reply(connection)
        except NoScriptError:
            # The server was restarted under a connection that outlived it, or its scripts were flushed.
            await self._disconnect()
            raise RedisConnectionError("the server has lost its scripts") from None
        except (AuthenticationError, *AWAY):
            raise
        except ResponseError as error:
            return error

    def _resolve(self, op: _Op) -> tuple[Argument, ...]:
        args = op.args
        if args[0] != "EVALSHA":
            return args
        if op.until is None:
            return ("EVALSHA", self._shas[str(args[1])], *args[2:])
        place = 3 + int(args[2])
        ends = int(op.until * 1000 + self._ahead_ms)
        return ("EVALSHA", self._shas[str(args[1])], *args[2:place], ends, *args[place + 1 :])

    async def _connect(self) -> AbstractConnection:
        connection = self._pool.make_connection()
        try:
            await connection.connect()
            await _new_enough(connection)
            for name, text in SCRIPTS.items():
                await connection.send_command("SCRIPT", "LOAD", text)
                sha = await _reply(connection)
                self._shas[name] = sha.decode()
            self._ahead_ms = await _ahead_ms(connection)
        except BaseException:
            with contextlib.suppress(*AWAY):
                await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        return connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)


def _settle(op: _Op, reply: Any) -> None:
    if op.future.done():
        return
    if isinstance(reply, ResponseError):
        op.future.set_exception(reply)
        op.future.exception()
    else:
        op.future.set_result(reply)


async def _new_enough(connection: AbstractConnection) -> None:
    await connection.send_command("INFO", "server")
    told = (await _reply(connection)).decode()
    facts = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    # Valkey calls itself Redis 7.2 there, for clients that ask for no more.
    version = tuple(int(part) for part in facts.get("redis_version", "0").split(".")[:2])
    if version < OLDEST:
        raise ServerTooOld(f"the server is Redis {facts.get('redis_version')}, older than {OLDEST[0]}.{OLDEST[1]}")


async def _reply(connection: AbstractConnection) -> Any:
    return await connection.read_response()  # pyright: ignore[reportUnknownVariableType] - untyped in redis-py


async def _ahead_ms(connection: AbstractConnection) -> float:
    """Return by how much the server's clock is ahead of ``clock``, or less: no lease ends late by its reckoning."""
    await connection.send_command("TIME")
    seconds, microseconds = await _reply(connection)
    return int(seconds) * 1000 + int(microseconds) / 1000 - clock() * 1000


async def within(reply: "asyncio.Future[Any]", timeout: float) -> Any:
    """Wait for a reply, at most ``timeout`` seconds; a command still queued by then is not sent.

    Raises:
        BusUnavailable: none came.
    """
    if reply.done():
        return reply.result()
    try:
        async with asyncio.timeout(timeout):
            return await reply
    except TimeoutError:
        raise BusUnavailable(f"the server did not answer within {timeout:.1f} s") from None
