"""Entries of streams, decoded for people."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from archive_bus._errors import BusUnavailable
from archive_bus._link import AWAY
from archive_contracts.envelope import Envelope, EnvelopeError
from archive_contracts.streams import STREAMS, Kind, Server, Stream, at

READ_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class TailEntry:
    """An entry of a stream; ``problem`` says why it is no envelope."""

    id: str
    envelope: Envelope | None
    fields: Mapping[bytes, bytes]
    problem: str = ""


class Messages:
    """Looks at entries without reading them in anybody's name."""

    def __init__(self, clients: Mapping[Server, Any]) -> None:
        self._clients = clients

    async def latest(self, stream: Stream, *, partition: str = "0", count: int = 50) -> list[TailEntry]:
        """Return the newest entries of a stream, newest first. Raises BusUnavailable."""
        with reachable():
            rows = await self._clients[stream.server].xrevrange(stream.physical(partition), count=count)
        return [tail_entry(entry_id.decode(), fields) for entry_id, fields in rows]

    async def entry(self, stream: Stream, entry_id: str, *, partition: str = "0") -> TailEntry | None:
        """Return one entry; None when the stream does not hold it (any more). Raises BusUnavailable."""
        try:
            with reachable():
                rows = await self._clients[stream.server].xrange(stream.physical(partition), entry_id, entry_id)
        except ResponseError:
            return None  # no entry can have such an id
        return tail_entry(rows[0][0].decode(), rows[0][1]) if rows else None

    async def entities(self, stream: Stream) -> list[str]:
        """Return whom the journals of a stream are about, in no order. Raises BusUnavailable."""
        scan = self._clients[stream.server].scan_iter(match=stream.physical("*"), count=5000, _type="stream")
        with reachable():
            return [at(raw.decode())[1] async for raw in scan]

    async def journals(self, stream: Stream, entities: Sequence[str]) -> dict[str, list[TailEntry]]:
        """Return the entries of each of these journals, oldest first; none when it is gone. Raises BusUnavailable."""
        found: dict[str, list[TailEntry]] = {}
        for start in range(0, len(entities), READ_AT_ONCE):
            some = entities[start : start + READ_AT_ONCE]
            with reachable():
                async with self._clients[stream.server].pipeline(transaction=False) as pipeline:
                    for entity in some:
                        pipeline.xrange(stream.physical(entity))
                    read = await pipeline.execute()
            for entity, rows in zip(some, read, strict=True):
                found[entity] = [tail_entry(entry_id.decode(), fields) for entry_id, fields in rows]
        return found

    async def related(self, correlation: str, *, newest: int = 500) -> list[tuple[str, TailEntry]]:
        """Return (key, entry) of what belongs to one correlation, oldest first. Raises BusUnavailable.

        Looks through the ``newest`` entries of each shared stream; what is acknowledged and past its retention is gone.
        """
        found: list[tuple[str, TailEntry]] = []
        client = self._clients[Server.BUS]
        with reachable():
            async for raw in client.scan_iter(match="{*}", count=1000, _type="stream"):
                key = raw.decode()
                if not _is_shared(key):
                    continue
                rows = await client.xrevrange(key, count=newest)
                entries = (tail_entry(entry_id.decode(), fields) for entry_id, fields in rows)
                found += [(key, entry) for entry in entries if _belongs(entry, correlation)]
        return sorted(found, key=lambda pair: pair[1].envelope.time if pair[1].envelope else "")


def tail_entry(entry_id: str, fields: Mapping[bytes, bytes]) -> TailEntry:
    """Return an entry with its envelope, or with what keeps it from having one."""
    try:
        return TailEntry(entry_id, Envelope.from_fields(fields, entry_id=entry_id), fields)
    except EnvelopeError as error:
        return TailEntry(entry_id, None, fields, str(error))


@contextmanager
def reachable() -> Generator[None, None, None]:
    """Turn a server that is away into BusUnavailable."""
    try:
        yield
    except AWAY as error:
        raise BusUnavailable(f"the server is away: {error}") from error


def _is_shared(key: str) -> bool:
    stream = STREAMS.get(key[1:].partition(":")[0])
    return stream is not None and stream.kind not in {Kind.JOURNAL, Kind.REPLIES, Kind.LOG}


def _belongs(entry: TailEntry, correlation: str) -> bool:
    envelope = entry.envelope
    return envelope is not None and correlation in {envelope.correlation, envelope.id}
