"""Reading without a group, reply streams and marks."""

from collections.abc import AsyncIterator, Awaitable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from redis.exceptions import ResponseError

from archive_bus._errors import BusUnavailable, PayloadError
from archive_bus._link import AWAY, entries_of, only_stream, replies_of
from archive_bus._redis.connections import SETTLE_TIMEOUT_S, Connections, Written, accepted
from archive_bus._transport import Entry
from archive_bus._turns import let_begin
from archive_contracts.streams import REPLIES, Server

REPLY_LIFE_MS = 30_000
TAIL_BLOCK_MS = 1000
TAIL_BLOCK_S = TAIL_BLOCK_MS / 1000


class Reading:
    """Journals, broadcasts, this process's reply stream, and marks that end by themselves."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def read(self, key: str, *, server: Server, after: str, count: int = 500) -> Sequence[Entry]:
        """Read entries after an id, at once."""
        async with self._connections.readers[server].one() as link:
            with _answered(key):
                rows = await link.call("XRANGE", key, f"({after}", "+", "COUNT", count)
        return [Entry(entry_id, fields) for entry_id, fields in entries_of(rows)]

    async def tail(self, key: str, *, server: Server, after: str) -> AsyncIterator[Sequence[Entry]]:
        """Read entries after an id as they come."""
        async for rows in self._rows(key, server=server, after=after):
            yield [Entry(entry_id, fields) for entry_id, fields in entries_of(rows)]

    async def replies(self, process: str, *, after: str) -> AsyncIterator[Sequence[Entry]]:
        """Read the reply stream of a process as it grows."""
        async for rows in self._rows(REPLIES.physical(process), server=REPLIES.server, after=after):
            yield [Entry(entry_id, fields) for entry_id, fields in replies_of(rows)]

    async def _rows(self, key: str, *, server: Server, after: str) -> AsyncIterator[Sequence[Any]]:
        async with self._connections.readers[server].one() as link:
            while True:
                place = ("STREAMS", key, after)
                with _answered(key):
                    reply = await link.call("XREAD", "COUNT", 500, "BLOCK", TAIL_BLOCK_MS, *place, wait_s=TAIL_BLOCK_S)
                rows = only_stream(reply)
                after = rows[-1][0].decode() if rows else after
                yield rows
                await let_begin(rows)

    async def open_replies(self, process: str, *, read_to: str) -> bool:
        """Create or renew this process's reply stream and drop what was read."""
        key, created, replier = REPLIES.physical(process), True, self._connections.replier
        try:
            await replier.call("XGROUP", "CREATE", key, "owner", "$", "MKSTREAM", timeout=SETTLE_TIMEOUT_S)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                # Memory full, a replica promoted elsewhere: it passes, and the process must outlive it.
                raise BusUnavailable(f"the server refuses a reply stream: {error}") from error
            created = False
        await accepted(replier.send("XTRIM", key, "MINID", read_to), SETTLE_TIMEOUT_S)
        await accepted(replier.send("PEXPIRE", key, REPLY_LIFE_MS), SETTLE_TIMEOUT_S)
        return created

    async def close_replies(self, process: str) -> None:
        """Delete this process's reply stream."""
        await accepted(self._connections.replier.send("UNLINK", REPLIES.physical(process)), 1.0)

    async def listening(self, processes: Sequence[str]) -> Sequence[bool]:
        """Return which processes still have a reply stream."""
        replier = self._connections.replier
        asked = [replier.send("EXISTS", REPLIES.physical(process)) for process in processes]
        return [bool(await accepted(reply, SETTLE_TIMEOUT_S)) for reply in asked]

    def mark(self, name: str, *, server: Server, lifetime: timedelta) -> Awaitable[bool]:
        """Set a mark."""
        life = int(lifetime.total_seconds() * 1000)
        return Written(self._connections.writer_of(server).send("SET", _mark(name), "1", "PX", life), SETTLE_TIMEOUT_S)

    async def marked(self, name: str, *, server: Server) -> bool:
        """Whether a mark is set."""
        return bool(await accepted(self._connections.writer_of(server).send("EXISTS", _mark(name)), SETTLE_TIMEOUT_S))


@contextmanager
def _answered(key: str) -> Generator[None, None, None]:
    """Have what a server says in place of entries as an error of the bus: it is away, or refuses this key."""
    try:
        yield
    except AWAY as error:
        raise BusUnavailable(f"the server is away: {error}") from error
    except ResponseError as error:
        raise BusUnavailable(f"the server refuses to read {key}: {error}") from error
    except UnicodeEncodeError as error:
        raise PayloadError(f"the name of what is to be read is no Unicode text: {error}") from error


def _mark(name: str) -> str:
    return f"{{control:0}}:{name}"
