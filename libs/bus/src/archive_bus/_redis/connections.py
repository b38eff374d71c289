"""The connections of a process to its two servers."""

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from archive_bus._addresses import Address
from archive_bus._commands import refusal
from archive_bus._errors import BusUnavailable, LeaseLost
from archive_bus._lease import Lease
from archive_bus._link import Argument, Links
from archive_bus._options import Durability
from archive_bus._redis.telling import LATE, Teller
from archive_bus._writer import Writer, within
from archive_contracts.envelope import Envelope
from archive_contracts.streams import Server

SETTLE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class RedisUrls:
    """Where the two roles are; one server may serve both."""

    bus: str
    state: str


class Connections:
    """A connection each for publishing, settling and replying, so that a large payload delays no heartbeat."""

    def __init__(self, bus: Address, state: Address, *, name: str = "") -> None:
        pools = {Server.BUS: bus.pool(name=name), Server.STATE: state.pool(name=name)}
        self.readers = {server: Links(pool) for server, pool in pools.items()}
        self.publisher = Writer(pools[Server.BUS], name="bus", replicas=int(bus.durability is Durability.REPLICATED))
        self.settler = Writer(pools[Server.BUS], name="bus settle")
        self.replier = Writer(pools[Server.STATE], name="state")
        self.teller = Teller(self.replier)

    async def start(self) -> None:
        """Start writing; a server that is away is waited for by each caller."""
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        for writer in (self.publisher, self.settler, self.replier):
            self._tasks.create_task(writer.run())

    async def stop(self) -> None:
        """Send what is queued and disconnect."""
        for writer in (self.publisher, self.settler, self.replier):
            writer.stop()
        await self._tasks.__aexit__(None, None, None)

    async def close_readers(self) -> None:
        """Disconnect what reads without a group."""
        for links in self.readers.values():
            await links.close()

    def ending(self, lease: Lease | None, key: str, args: Sequence[Argument]) -> "asyncio.Future[Any]":
        """Queue the end of a log that a lease covers; the lease hears of one that came too late."""
        sent = self.replier.fenced("end_log", [key], args, until=lease.until if lease else None)
        if lease:
            sent.add_done_callback(partial(_tell, lease))
        return sent

    def writer_of(self, server: Server) -> Writer:
        """Return where small writes to a server go."""
        return self.publisher if server is Server.BUS else self.replier


def in_time(reply: Any) -> Any:
    """Return the reply to a fenced script. Raises LeaseLost when it says that the lease was over."""
    if reply == LATE:
        raise LeaseLost("the lease had ended when the server got the message")
    return reply


def _tell(lease: Lease, reply: "asyncio.Future[Any]") -> None:
    if not reply.cancelled() and reply.exception() is None and reply.result() == LATE:
        lease.refuse()


class Written:
    """Whether a reply found its stream; need not be awaited."""

    __slots__ = ("_reply", "_timeout")

    def __init__(self, reply: "asyncio.Future[Any]", timeout: float) -> None:
        self._reply = reply
        self._timeout = timeout

    def __await__(self) -> Generator[Any, None, bool]:
        return self._wait().__await__()

    async def _wait(self) -> bool:
        return self.found(in_time(await accepted(self._reply, self._timeout)))

    def found(self, reply: Any) -> bool:
        """Return what a reply means."""
        return reply is not None


async def accepted(reply: "asyncio.Future[Any]", timeout: float) -> Any:
    """Wait for a reply; a server that refuses (memory full, disk failing) is as unavailable as one that is away."""
    try:
        return await within(reply, timeout)
    except ResponseError as error:
        raise refusal(error) from error


async def settled(reply: "asyncio.Future[Any]", *, gone: Any) -> Any:
    """Wait for the reply to a settling command; ``gone`` stands for it when stream and group no longer exist."""
    try:
        return await within(reply, SETTLE_TIMEOUT_S)
    except ResponseError as error:
        if "NOGROUP" in str(error):
            return gone
        raise BusUnavailable(f"the server refuses: {error}") from error


def flat_fields(envelope: Envelope) -> list[Argument]:
    """Return the fields of an entry as arguments of XADD."""
    flat: list[Argument] = []
    for field in vars(envelope).items():
        if field[1]:
            flat += field
    return flat
