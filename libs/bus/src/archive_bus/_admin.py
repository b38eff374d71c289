"""The operator's view of the bus: streams, lag, pending, dead letters.

Lag and pending differ: lag counts what no consumer of a group has read yet, pending what was read and is not settled.
"""

import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import groupby, islice
from types import TracebackType
from typing import Any, Self, TypeVar

from redis.exceptions import ResponseError

from archive_bus._addresses import address_of
from archive_bus._backlog import NOBODY, backlog_of, dropped_groups
from archive_bus._commands import SCRIPTS
from archive_bus._lines import place_of
from archive_bus._link import AWAY
from archive_bus._messages import Messages, TailEntry, reachable, tail_entry
from archive_bus._options import Durability
from archive_bus._reports import (
    ConsumerReport,
    DeadLetter,
    GroupReport,
    NoSuchDeadLetter,
    NoSuchGroup,
    SameDeadLetters,
    ServerMemory,
    StreamReport,
    consumer_report,
    dead_letter_report,
    group_report,
    memory_report,
)
from archive_contracts.streams import Kind, Server, Stream, at, dead_letters, exists, named

T = TypeVar("T")
_ENTRY = re.compile(r"\d+-\d+")
AT_ONCE = 100
"""Dead letters that one command replays or deletes."""


class Operator:
    """An operator's connection to both roles. Enter it to connect.

    ``messages`` looks at single entries.
    """

    def __init__(self, bus_url: str, state_url: str) -> None:
        self._clients: dict[Server, Any] = {
            server: address_of(url, Durability.MEMORY).client()
            for server, url in ((Server.BUS, bus_url), (Server.STATE, state_url))
        }
        self.messages = Messages(self._clients)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def streams(self) -> list[StreamReport]:
        """Return every physical stream of the map that exists; journals and reply streams only by number.

        Raises:
            BusUnavailable: a server does not answer.
        """
        with reachable():
            keys = [key async for key in self._keys()]
            return [await self._report(key) for key in sorted(keys)]

    async def _keys(self) -> AsyncIterator[str]:
        async for raw in self._clients[Server.BUS].scan_iter(match="{*}", count=1000, _type="stream"):
            key = raw.decode()
            name = key[1:].partition(":")[0]
            if exists(name) and named(name).kind not in {Kind.JOURNAL, Kind.REPLIES, Kind.LOG}:
                yield key

    async def _report(self, key: str) -> StreamReport:
        client = self._clients[Server.BUS]
        stream, partition = at(key)
        info = await client.xinfo_stream(key)
        return StreamReport(
            key=key,
            stream=stream.name,
            partition=partition,
            length=int(info["length"]),
            oldest_s=_age(info.get("first-entry")),
            groups=tuple(await self._groups(key)),
        )

    async def _groups(self, key: str) -> list[GroupReport]:
        rows = await self._clients[Server.BUS].eval(SCRIPTS["backlog"], 1, key, NOBODY)
        return [group_report(backlog_of(row)) for row in rows]

    async def memory(self) -> dict[str, ServerMemory]:
        """Return what each role uses of what it has. Raises BusUnavailable."""
        with reachable():
            return {str(role): memory_report(await client.info("memory")) for role, client in self._clients.items()}

    async def tail(self, stream: Stream, *, partition: str = "0", after: str = "$") -> AsyncIterator[TailEntry]:
        """Yield entries of a stream as they come."""
        client, key = self._clients[stream.server], stream.physical(partition)
        if after == "$":
            # Asked anew at each read, "$" would skip what comes between two of them.
            with reachable():
                newest = await client.xrevrange(key, count=1)
            after = _text(newest[0][0]) if newest else "0-0"
        while True:
            with reachable():
                reply = await client.xread({key: after}, count=100, block=1000)
            for raw_id, fields in reply[0][1] if reply else ():
                after = raw_id.decode()
                yield tail_entry(after, fields)

    async def dead_letters(
        self, *, stream: str = "", partition: str = "", group: str = "", reason: str = "", limit: int = 100
    ) -> list[DeadLetter]:
        """Return dead letters, newest first, all or those of a stream or a partition, a group, a cause's code."""
        found: list[DeadLetter] = []
        with reachable():
            async for raw, key, owner in self._dead():
                name, part = at(key)[0].name, at(key)[1]
                if stream in {"", name} and partition in {"", part} and group in {"", owner}:
                    rows = await self._clients[Server.BUS].xrevrange(raw, count=None if reason else limit)
                    letters = [dead_letter_report(key, owner, raw_id.decode(), fields) for raw_id, fields in rows]
                    found += [letter for letter in letters if reason in {"", letter.code}]
        return sorted(found, key=_at, reverse=True)[:limit]

    async def _dead(self) -> AsyncIterator[tuple[bytes, str, str]]:
        """Yield the key of each stream of dead letters, that of its stream, and the group."""
        async for raw in self._clients[Server.BUS].scan_iter(match="{*}:*:dead", count=1000, _type="stream"):
            yield raw, *_owner_of(raw.decode())

    async def dead_letter(self, name: str) -> DeadLetter:
        """Return one dead letter by its name, or by its id where no other has the same.

        Raises:
            NoSuchDeadLetter: there is none.
            SameDeadLetters: there are several.
        """
        letter_id, whole, _ = name.partition("@")
        found: dict[str, DeadLetter] = {}
        if _ENTRY.fullmatch(letter_id):
            with reachable():
                async for raw, key, owner in self._dead():
                    for raw_id, fields in await self._clients[Server.BUS].xrange(raw, letter_id, letter_id):
                        letter = dead_letter_report(key, owner, raw_id.decode(), fields)
                        found[letter.name] = letter
        if whole:
            found = {each: letter for each, letter in found.items() if each == name}
        if not found:
            raise NoSuchDeadLetter(f"there is no dead letter {name!r}")
        if len(found) > 1:
            raise SameDeadLetters(f"several dead letters have this id: {', '.join(sorted(found))}")
        return found.popitem()[1]

    async def replay(self, letter: DeadLetter) -> str:
        """Let the group that failed handle a message anew; no other group of the stream runs it again.

        Moved in one step: a letter is replayed once, whoever else replays it. Returns the new entry's id.

        Raises:
            NoSuchDeadLetter: somebody has replayed or dropped it.
        """
        (added,) = await self._replay(letter.key, letter.group, [letter.id])
        if added is None:
            raise NoSuchDeadLetter(f"the dead letter {letter.id!r} is gone")
        return added

    async def replay_all(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Replay letters, the oldest first, in the order in which they came; return those that were still there."""
        done: list[DeadLetter] = []
        for (key, group), some in groupby(sorted(letters, key=_at), lambda letter: (letter.key, letter.group)):
            for batch in _batched(list(some), AT_ONCE):
                added = await self._replay(key, group, [letter.id for letter in batch])
                done += [letter for letter, entry in zip(batch, added, strict=True) if entry is not None]
        return done

    async def _replay(self, key: str, group: str, ids: Sequence[str]) -> list[str | None]:
        with reachable():
            added = await self._clients[Server.BUS].eval(
                SCRIPTS["replay"], 2, key, dead_letters(key, group), group, *ids
            )
        return [None if each is None else _text(each) for each in added]

    async def drop_group(self, stream: Stream, group: str, *, partition: str = "0") -> GroupReport:
        """Drop a consumer group with all it has not settled; its dead letters stay. Returns what it was.

        What only it has not handled can go then. Publishers do not bring it back; its service does when it subscribes
        again, and begins with the oldest entry that is kept.

        Raises:
            NoSuchGroup: the stream has no such group.
        """
        key = stream.physical(partition)
        place = f"{key}:{group}"
        keys = (key, f"{place}:runs", f"{place}:parked", dropped_groups(key))
        with reachable():
            found = [each for each in await self._groups(key) if each.name == group]
            dropped = await self._clients[Server.BUS].eval(SCRIPTS["drop_group"], len(keys), *keys, group)
        if dropped is None or not found:
            raise NoSuchGroup(f"{key} has no group {group!r}")
        return found[0]

    async def drop(self, letter: DeadLetter) -> None:
        """Delete a dead letter."""
        with reachable():
            await self._clients[Server.BUS].xdel(dead_letters(letter.key, letter.group), letter.id)

    async def drop_all(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Delete dead letters; return those that were still there."""
        done: list[DeadLetter] = []
        for batch in _batched(letters, AT_ONCE):
            with reachable():
                async with self._clients[Server.BUS].pipeline(transaction=False) as pipe:
                    for letter in batch:
                        pipe.xdel(dead_letters(letter.key, letter.group), letter.id)
                    deleted = await pipe.execute()
            done += [letter for letter, there in zip(batch, deleted, strict=True) if there]
        return done

    async def consumers(self, stream: Stream, group: str, *, partition: str = "0") -> list[ConsumerReport]:
        """Return who reads for a group, the latest to speak first; nobody where there is no such group.

        Raises:
            BusUnavailable: a server does not answer.
        """
        try:
            with reachable():
                rows = await self._clients[stream.server].xinfo_consumers(stream.physical(partition), group)
        except ResponseError:
            return []
        found = [consumer_report(row) for row in rows]
        return sorted((each for each in found if each.name != NOBODY), key=lambda each: (each.seen_s, each.name))

    async def check(self) -> dict[str, str | None]:
        """Return for each role what is wrong with it, or None."""
        found: dict[str, str | None] = {}
        for server, client in self._clients.items():
            try:
                await client.ping()
                found[str(server)] = None
            except (*AWAY, ResponseError) as error:
                found[str(server)] = str(error)
        return found


def _owner_of(dead_key: str) -> tuple[str, str]:
    key, _, rest = dead_key.rpartition("}:")
    return f"{key}}}", rest.removesuffix(":dead")


def _age(entry: Sequence[Any] | None) -> float | None:
    return max(0.0, time.time() - int(_text(entry[0]).split("-")[0]) / 1000) if entry else None


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _at(letter: DeadLetter) -> tuple[float, tuple[int, int]]:
    return letter.at, place_of(letter.id)


def _batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    each = iter(items)
    while some := list(islice(each, size)):
        yield some
