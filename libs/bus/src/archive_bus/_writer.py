"""One connection that many callers write through: the commands of a loop turn travel as one pipeline."""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from typing import Any

from redis.asyncio.connection import ConnectionPool
from redis.exceptions import AuthenticationError, NoScriptError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from archive_bus._commands import SCRIPTS, SHAS, Call, Fenced, Op, silent
from archive_bus._errors import BusUnavailable, PayloadError, ServerTooOld, WrongPassword
from archive_bus._lease import clock
from archive_bus._link import AWAY, Argument, Link, packed

log = logging.getLogger(__name__)

MOST_A_PIPELINE = 512
OLDEST = (7, 0)
REPLICA_WAIT_MS = 1000
CLOCK_LOOK_S = 5.0
"""How often the server's clock is looked at while something is written: it may be set, and leases end by it."""
GRAIN_S = 0.05
"""How late the end of a wait may come: in an outage tens of thousands wait, and all are looked at each time."""
RECONNECT_S = (0.02, 0.05, 0.1, 0.2, 0.4)


class Writer:
    """Sends commands in order over a connection of its own and survives the loss of it.

    A command that was sent when the connection broke is sent again: callers use it for what may safely run twice.
    """

    def __init__(self, pool: ConnectionPool, *, name: str, replicas: int = 0) -> None:
        self._replicas = replicas
        self._link = Link(pool)
        self._name = name
        self._queue: deque[Op] = deque()
        self._sent: Sequence[Op] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._rings = math.inf
        self._nowhere = Context()
        self._wake = asyncio.Event()
        self._ahead_ms = 0.0
        self._looked = 0.0
        self._stopping = False

    @property
    def queued(self) -> int:
        """How many commands wait."""
        return len(self._queue)

    async def run(self) -> None:
        """Send what is queued until stopped, then what is left; whatever ends it, nobody waits on."""
        try:
            await self._send_all()
            await self._link.close()
        finally:
            self._end()

    async def _send_all(self) -> None:
        failures = 0
        while not (self._stopping and not self._queue):
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._sent = batch = self._take()
            try:
                await self._exchange(batch)
                failures = 0
            except (AuthenticationError, ServerTooOld) as error:
                await self._give_up(batch, error)
            except AWAY as error:
                if failures == 0:
                    log.warning("%s: the server is away (%s); trying again", self._name, error)
                self._queue.extendleft(op for op in reversed(batch) if not op.done)
                await self._link.close()
                if self._stopping:
                    break
                await asyncio.sleep(RECONNECT_S[min(failures, len(RECONNECT_S) - 1)])
                failures += 1
            self._sent = ()

    def _end(self) -> None:
        """Tell all who wait that no reply will come."""
        unanswered = (*self._sent, *self._queue)
        self._sent = ()
        self._queue.clear()
        for op in unanswered:
            op.fail(BusUnavailable("the connection was closed before the server answered"))
        if self._timer:
            self._timer.cancel()
            self._timer, self._rings = None, math.inf

    async def _give_up(self, batch: Sequence[Op], error: Exception) -> None:
        """Say at once what waiting does not mend."""
        cause = error if isinstance(error, ServerTooOld) else WrongPassword(f"the server refuses to let us in: {error}")
        for op in batch:
            op.fail(cause)
        await self._link.close()

    def stop(self) -> None:
        """Let ``run`` end once the queue is empty, or at once when the server is away."""
        self._stopping = True
        self._wake.set()

    def send(self, *args: Argument) -> "asyncio.Future[Any]":
        """Queue a command; the future holds its reply or its ResponseError."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.put(Call(args, future))
        return future

    def fenced(
        self,
        name: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        *,
        until: float | None,
        timeout: float = math.inf,
    ) -> "asyncio.Future[Any]":
        """Queue a script whose first argument is the end of a lease; the future holds its reply, or a BusError.

        ``until`` is by ``clock`` and reaches the script as ms by the server's clock; None as 0. After ``timeout``
        seconds the future holds BusUnavailable; what is still queued by then is not sent.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        op = Fenced(("EVALSHA", SHAS[name], len(keys), *keys, 0, *args), future, until=until, timeout=timeout)
        self.put(op)
        # One timer for all of them: one each costs a twentieth of a publish, and next to none ever rings.
        if op.ends < self._rings:
            self._ring_at(op.ends, loop)
        return future

    def _ring_at(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer:
            self._timer.cancel()
        self._rings = when
        # In no caller's context: it would live on from timer to timer.
        self._timer = loop.call_later(max(0.0, when - time.monotonic()), self._ring, loop, context=self._nowhere)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the waits whose time is over."""
        self._timer, self._rings = None, math.inf
        now, nearest = time.monotonic(), math.inf
        for op in (*self._sent, *self._queue):
            if isinstance(op, Fenced) and not op.done:
                if op.ends > now:
                    nearest = min(nearest, op.ends)
                else:
                    op.expire()
        if nearest < math.inf:
            self._ring_at(max(nearest, now + GRAIN_S), loop)

    def put(self, op: Op) -> None:
        """Queue a command."""
        self._queue.append(op)
        if len(self._queue) == 1:
            self._wake.set()

    def script(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> "asyncio.Future[Any]":
        """Queue a script of the lua folder."""
        return self.send("EVALSHA", SHAS[name], len(keys), *keys, *args)

    async def call(self, *args: Argument, timeout: float) -> Any:
        """Send a command and wait for its reply. Raises BusUnavailable when none comes in time."""
        return await within(self.send(*args), timeout)

    def _take(self) -> list[Op]:
        batch: list[Op] = []
        while self._queue and len(batch) < MOST_A_PIPELINE:
            op = self._queue.popleft()
            if op.leaves():
                batch.append(op)
        return batch

    async def _exchange(self, batch: Sequence[Op]) -> None:
        if not self._link.connected:
            await self._connect()
        sayable, commands = self._texts(batch)
        if self._replicas:
            commands.append(packed("WAIT", self._replicas, REPLICA_WAIT_MS))
        if not sayable:
            return
        replies: list[Any] = []
        try:
            await self._link.bundle(b"".join(commands), len(commands), into=replies)
        except AWAY:
            self._tell(sayable, replies)
            raise
        if not self._tell(sayable, replies):
            raise RedisConnectionError("no replica has confirmed in time")
        if clock() - self._looked > CLOCK_LOOK_S:
            await self._look_at_clock()

    async def _look_at_clock(self) -> None:
        self._ahead_ms = await ahead_ms(self._link)
        self._looked = clock()

    def _tell(self, sent: Sequence[Op], replies: Sequence[Any]) -> bool:
        """Hand the replies that came to their callers; False when what was accepted is not yet where it has to be."""
        # Told before a replica has it, the caller would believe what a failover forgets.
        if self._replicas and not (len(replies) > len(sent) and _number(replies[-1]) >= self._replicas):
            return False
        for op, reply in zip(sent, replies, strict=False):
            op.settle(_judged(reply) if isinstance(reply, Exception) else reply)
        return True

    def _texts(self, batch: Sequence[Op]) -> tuple[list[Op], list[bytes]]:
        """Return commands, and each as it travels; tell the callers of those that cannot."""
        sayable: list[Op] = []
        texts: list[bytes] = []
        for op in batch:
            try:
                texts.append(op.text(self._ahead_ms))
            except UnicodeEncodeError as error:
                op.fail(PayloadError(f"a name or an argument is no Unicode text: {error}"))
            else:
                sayable.append(op)
        return sayable, texts

    async def _connect(self) -> None:
        await self._link.connect()
        try:
            await _new_enough(self._link)
            loads = b"".join(packed("SCRIPT", "LOAD", text) for text in SCRIPTS.values())
            loaded: list[Any] = []
            await self._link.bundle(loads, len(SCRIPTS), into=loaded)
            if refused := next((reply for reply in loaded if isinstance(reply, ResponseError)), None):
                raise refused
            await self._look_at_clock()
        except BaseException:  # also when cancelled: a connection half set up serves nobody
            await self._link.close()
            raise


def _judged(reply: Exception) -> Exception:
    """Return an error that a reply is; raise it when it is about the connection and not about the command."""
    if isinstance(reply, NoScriptError):
        # The server was restarted under a connection that outlived it, or its scripts were flushed.
        raise RedisConnectionError("the server has lost its scripts")
    if isinstance(reply, (AuthenticationError, *AWAY)):
        raise reply
    return reply


async def _new_enough(link: Link) -> None:
    told: str = (await link.call("INFO", "server")).decode()
    facts = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    # Valkey calls itself Redis 7.2 there, for clients that ask for no more.
    version = tuple(int(part) for part in facts.get("redis_version", "0").split(".")[:2])
    if version < OLDEST:
        raise ServerTooOld(f"the server is Redis {facts.get('redis_version')}, older than {OLDEST[0]}.{OLDEST[1]}")


async def ahead_ms(link: Link) -> float:
    """Return by how much the server's clock is ahead of ``clock``, or less: no lease ends late by its reckoning."""
    seconds, microseconds = await link.call("TIME")
    return int(seconds) * 1000 + int(microseconds) / 1000 - clock() * 1000


async def within(reply: "asyncio.Future[Any]", timeout: float) -> Any:
    """Wait for a reply, at most ``timeout`` seconds; a command still queued by then is not sent.

    Raises:
        BusUnavailable: none came.
    """
    if reply.done():
        return reply.result()
    # A timer of one's own costs a fifth of asyncio.timeout.
    timer = reply.get_loop().call_later(timeout, _expire, reply, timeout)
    try:
        return await reply
    finally:
        timer.cancel()


def _expire(reply: "asyncio.Future[Any]", timeout: float) -> None:
    if not reply.done():
        reply.set_exception(silent(timeout))


def _number(reply: Any) -> int:
    """Return how many replicas have confirmed; a server that is a master no more says an error."""
    return reply if isinstance(reply, int) else 0
