"""The operator's verbs on the bus, with the credential of the run file; journals and replies are not shown."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from archive_bus import BusError, BusUnavailable, DeadLetter, GroupReport, Operator, TailEntry
from archive_cli.errors import CliError, NotRunningError, UsageError
from archive_cli.runinfo import RunInfo
from archive_contracts.streams import STREAMS, Kind, Stream, exists, named

Json = dict[str, Any]
T = TypeVar("T")

MOST = 100_000
"""Dead letters that one order works on at most."""

PARTS = {
    Kind.JOURNAL: "the id of a job or run",
    Kind.LANE: "a pool",
    Kind.LOG: "an answer",
    Kind.REPLIES: "a process",
}
"""What names the physical streams of a logical one that has many."""


def stream_rows(info: RunInfo) -> list[Json]:
    """Return a row for each stream and group.

    `lag` is None when the server cannot tell; `oldest_s` is the age of the oldest entry that the stream still holds,
    `unsettled_s` that of the oldest message which the group has not settled, `seen_s` how long ago a consumer of the
    group last spoke: seconds, or None where there is none. `stale` is a group for which messages have waited for long
    and that nobody speaks for: they stay on the server until somebody does, or the group is dropped.

    Raises:
        NotRunningError: the bus does not answer.
    """

    async def ask(operator: Operator) -> list[Json]:
        rows: list[Json] = []
        for report in await operator.streams():
            shown = {"stream": _name(report.stream, report.partition), "length": report.length}
            nobody: Json = {"group": "-", "lag": 0, "pending": 0, "dead": 0, "consumers": 0}
            groups = [_group(group) for group in report.groups] or [
                nobody | {"unsettled_s": None, "seen_s": None, "stale": False}
            ]
            rows += [shown | group | {"oldest_s": report.oldest_s} for group in groups]
        return rows

    return _run(info, ask)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters: of a stream, of a group, with a cause's code; what is empty matches all."""

    stream: str = ""
    group: str = ""
    reason: str = ""

    async def letters(self, operator: Operator, *, limit: int) -> list[DeadLetter]:
        """Return what matches, newest first. Raises UsageError when the map knows no such stream."""
        name, _, partition = self.stream.strip("{}").partition(":")
        if self.stream:
            _find(self.stream, whole=not partition)
        return await operator.dead_letters(
            stream=name, partition=partition, group=self.group, reason=self.reason, limit=limit
        )


def dead_rows(info: RunInfo, wanted: Filter, *, limit: int = 100) -> list[Json]:
    """Return dead letters, newest first. Raises NotRunningError."""

    async def ask(operator: Operator) -> list[Json]:
        return [_letter(letter) for letter in await wanted.letters(operator, limit=limit)]

    return _run(info, ask)


def dead_letter(info: RunInfo, letter_id: str) -> Json:
    """Return one dead letter with its raw fields. Raises CliError when there is none of this id, or several are."""

    async def ask(operator: Operator) -> Json:
        letter = await operator.dead_letter(letter_id)
        return _letter(letter) | {"fields": _readable(letter.fields)}

    return _run(info, ask)


def settle_dead(info: RunInfo, letter_ids: list[str], wanted: Filter, *, replay: bool) -> list[str]:
    """Replay or drop dead letters; none named means all that match. Return the ids of those that were still there."""

    async def ask(operator: Operator) -> list[str]:
        if letter_ids:
            letters = [await operator.dead_letter(letter_id) for letter_id in letter_ids]
        else:
            letters = await wanted.letters(operator, limit=MOST)
        settled = await (operator.replay_all(letters) if replay else operator.drop_all(letters))
        return [letter.id for letter in settled]

    return _run(info, ask)


def find_group(info: RunInfo, name: str, group: str) -> Json:
    """Return the row of one group of a stream.

    Raises:
        UsageError: the map knows no such stream, or the stream has no such group.
        NotRunningError: the bus does not answer.
    """
    stream, partition = _find(name)
    shown = _name(stream.name, partition)
    for row in stream_rows(info):
        if (row["stream"], row["group"]) == (shown, group):
            return row
    raise UsageError(f"{shown} has no group {group!r}.", code="no_such_group", next_step="`archive streams`")


def drop_group(info: RunInfo, name: str, group: str) -> Json:
    """Delete a group with all it has not settled; return what it was, and whether the map names it.

    Raises as find_group, and CliError.
    """
    stream, partition = _find(name)

    async def ask(operator: Operator) -> Json:
        report = await operator.drop_group(stream, group, partition=partition)
        return {"stream": _name(stream.name, partition), "mapped": group in stream.consumers} | _group(report)

    return _run(info, ask)


def follow_stream(info: RunInfo, name: str, *, history: bool, seen: Callable[[Json], None]) -> None:
    """Tell of messages as they come, with `history` from the oldest that is kept, until interrupted.

    Raises:
        UsageError: the map knows no such stream.
        NotRunningError: the bus does not answer.
    """
    stream, partition = _find(name)

    async def ask(operator: Operator) -> None:
        async for entry in operator.tail(stream, partition=partition, after="0" if history else "$"):
            seen(_entry(entry))

    _run(info, ask)


def _run(info: RunInfo, ask: Callable[[Operator], Awaitable[T]]) -> T:
    async def whole() -> T:
        async with _operator(info) as operator:
            return await ask(operator)

    return asyncio.run(whole())


@asynccontextmanager
async def _operator(info: RunInfo) -> AsyncGenerator[Operator]:
    try:
        async with Operator(info.bus_url, info.state_url) as operator:
            yield operator
    except BusUnavailable as error:
        raise NotRunningError(
            "The bus does not answer.", code="bus_unavailable", next_step="`archive status`, `archive logs bus`"
        ) from error
    except BusError as error:
        problem = error.problem()
        raise CliError(problem.message, code=problem.code, next_step=problem.next_step) from error


def _find(name: str, *, whole: bool = False) -> tuple[Stream, str]:
    """Return stream and partition of `documents.events`, `engine.jobs:small` or a physical key.

    With `whole` no part needs to be named.
    """
    bare, _, partition = name.strip("{}").partition(":")
    if not exists(bare):
        known = ", ".join(sorted(STREAMS))
        raise UsageError(f"There is no stream {bare!r}.", code="no_such_stream", next_step=f"one of {known}")
    stream = named(bare)
    if not partition and not whole and stream.kind in PARTS:
        what = PARTS[stream.kind]
        raise UsageError(
            f"{bare} is one stream for each part.", code="part_needed", next_step=f"name {what}: {bare}:NAME"
        )
    return stream, partition or "0"


def _logical(key: str) -> str:
    """Return what a physical key is called everywhere else: `{documents.events:0}` is documents.events."""
    return key.removeprefix("{").removesuffix("}").removesuffix(":0")


def _name(stream: str, partition: str) -> str:
    return stream if partition == "0" else f"{stream}:{partition}"


def _entry(entry: TailEntry) -> Json:
    if entry.envelope is None:
        return {"entry": entry.id, "problem": entry.problem, "fields": _readable(entry.fields)}
    return {"entry": entry.id} | _readable(entry.fields)


def _group(group: GroupReport) -> Json:
    return {
        "group": group.name,
        "lag": group.lag,
        "pending": group.pending,
        "dead": group.dead,
        "consumers": group.consumers,
        "unsettled_s": group.oldest_s,
        "seen_s": group.seen_s,
        "stale": group.stale,
    }


def _letter(letter: DeadLetter) -> Json:
    return {
        "id": letter.id,
        "stream": _logical(letter.key),
        "group": letter.group,
        "entry": letter.entry,
        "type": letter.type,
        "code": letter.code,
        "attempts": letter.attempts,
        "cause": letter.cause,
        "at": letter.at,
    }


def _readable(fields: Any) -> Json:
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
