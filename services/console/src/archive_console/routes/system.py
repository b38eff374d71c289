"""The operator's pages: streams, lanes, messages, dead letters, engines."""

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
from starlette.responses import Response

from archive_bus import BusError, DeadLetter, TailEntry
from archive_console.domain.errors import NotThere
from archive_console.domain.overview import overview
from archive_console.routes.acting import note, reason_of
from archive_console.routes.asking import FIRST_S
from archive_console.routes.engines import engines
from archive_console.routes.events import streamed, watched
from archive_console.routes.jobs import board
from archive_console.routes.visit import Visit, text
from archive_contracts.actions import ActionTaken
from archive_contracts.streams import OPERATOR_ACTIONS, STREAMS, Stream

LOOK_S = 2.0
LATEST = 50
ACTIONS = 200
SHOWN_BYTES = 20_000

Values = Mapping[str, Any]


async def _overview(visit: Visit) -> Values:
    reports = await visit.desk.operator.streams()
    workers = visit.desk.engines.workers()
    checks = {name: await check() for name, check in visit.desk.ready.items()}
    return {
        "seen": overview(reports, workers),
        "memory": await visit.desk.operator.memory(),
        "checks": checks,
        "rates": visit.desk.engines.rates(),
    }


async def _streams(visit: Visit) -> Values:
    return {"reports": await visit.desk.operator.streams(), "map": STREAMS}


async def _dead(visit: Visit) -> Values:
    stream, group = visit.word("stream"), visit.word("group")
    letters = await visit.desk.operator.dead_letters(stream=stream, group=group, limit=200)
    wanted = visit.word("q").casefold()
    found = [letter for letter in letters if wanted in f"{letter.code} {letter.cause} {letter.type}".casefold()]
    return {"letters": found, "stream": stream, "group": group, "words": visit.word("q")}


async def _actions(visit: Visit) -> Values:
    """Return what operators did, the latest first."""
    entries = await visit.desk.operator.messages.latest(OPERATOR_ACTIONS, count=ACTIONS)
    # Read as the map says: what an entry of another version does not tell stays empty.
    taken = [ActionTaken.model_validate_json(entry.envelope.data) for entry in entries if entry.envelope]
    return {"actions": taken}


PARTS: Mapping[str, Callable[[Visit], Awaitable[Values]]] = {
    "overview": _overview,
    "streams": _streams,
    "dead": _dead,
    "engines": engines,
    "actions": _actions,
    "jobs": board,
}


async def show(visit: Visit) -> Response:
    """Show one of the pages."""
    part = visit.request.path_params.get("part", "overview")
    if part not in PARTS:
        raise NotThere("There is no such page.", next_step="Go to the overview.")
    values: Values = {
        "late": True,
        "stream": visit.word("stream"),
        "group": visit.word("group"),
        "words": visit.word("q"),
        "view": visit.word("view"),
        "query": visit.request.url.query,
    }
    with contextlib.suppress(TimeoutError, BusError), anyio.fail_after(FIRST_S):
        values = {**values, "late": False, **await PARTS[part](visit)}
    return visit.page(f"system/{part}.html", part=part, **values)


async def watch(visit: Visit) -> Response:
    """Send the changing part of a page whenever it changes."""
    part = visit.request.path_params["part"]
    if part not in PARTS:
        raise NotThere("There is no such page.", next_step="Go to the overview.")

    async def look() -> str:
        return visit.html(f"system/{part}_live.html", part=part, **await PARTS[part](visit))

    return streamed(watched(visit, (part, visit.request.url.query), look, every_s=LOOK_S))


async def show_stream(visit: Visit) -> Response:
    """Show a stream: its groups, and its latest messages decoded."""
    stream, partition = _named(visit)
    key = stream.physical(partition)
    reports = [report for report in await visit.desk.operator.streams() if report.key == key]
    entries = await visit.desk.operator.messages.latest(stream, partition=partition, count=LATEST)
    return visit.page(
        "system/stream.html",
        part="streams",
        stream=stream,
        partition=partition,
        report=reports[0] if reports else None,
        entries=entries,
    )


async def show_message(visit: Visit) -> Response:
    """Show one message, decoded, with what came before and after it."""
    stream, partition = _named(visit)
    found = await visit.desk.operator.messages.entry(stream, visit.request.path_params["entry"], partition=partition)
    if found is None:
        raise NotThere("This message is not on its stream any more.", next_step="Go back to the stream.")
    correlation = found.envelope.correlation or found.envelope.id if found.envelope else ""
    related = await visit.desk.operator.messages.related(correlation) if correlation else []
    return visit.page(
        "system/message.html",
        part="streams",
        stream=stream,
        partition=partition,
        entry=found,
        fields=readable(found.fields),
        related=tree(related),
    )


def tree(related: Sequence[tuple[str, TailEntry]]) -> list[tuple[int, str, TailEntry]]:
    """Return (depth, key, entry): each message below the one that caused it."""
    depths: dict[str, int] = {}
    shown: list[tuple[int, str, TailEntry]] = []
    for key, entry in related:
        if entry.envelope is None:
            continue
        depth = depths.get(entry.envelope.causation, -1) + 1
        depths[entry.envelope.id] = depth
        shown.append((depth, key, entry))
    return shown


def _named(visit: Visit) -> tuple[Stream, str]:
    stream = STREAMS.get(visit.request.path_params["stream"])
    if stream is None:
        raise NotThere("The map has no such stream.", next_step="Go back to the list.")
    return stream, visit.word("partition", "0")


def readable(fields: Mapping[bytes, bytes]) -> list[tuple[str, str]]:
    """Return the fields of an entry for people: JSON laid out, what is no text as its bytes."""
    return [(name.decode(errors="replace"), _readable(value)) for name, value in fields.items()]


def _readable(value: bytes) -> str:
    try:
        whole = value.decode()
    except UnicodeDecodeError:
        return repr(value[:SHOWN_BYTES])
    if whole[:1] in "{[":
        with contextlib.suppress(ValueError):
            whole = json.dumps(json.loads(whole), indent=2, ensure_ascii=False)
    return whole if len(whole) <= SHOWN_BYTES else f"{whole[:SHOWN_BYTES]}\n… {len(whole) - SHOWN_BYTES} more"


async def show_letter(visit: Visit) -> Response:
    """Show a dead letter: its cause and the fields as they came."""
    letter = await _letter(visit)
    return visit.page("system/letter.html", part="dead", letter=letter, fields=readable(letter.fields))


async def replay(visit: Visit) -> Response:
    """Give one dead letter, or all that are listed, another try."""
    form = await visit.form()
    reason = reason_of(form)
    letters = await _chosen(visit, text(form, "letter"))
    for letter in letters:
        await visit.desk.operator.replay(letter)
    await note(visit, "replayed dead letters", [letter.id for letter in letters], reason=reason)
    return visit.to("/system/dead")


async def drop(visit: Visit) -> Response:
    """Give dead letters up for good; the reason is kept."""
    form = await visit.form()
    reason = reason_of(form)
    letters = await _chosen(visit, text(form, "letter"))
    for letter in letters:
        await visit.desk.operator.drop(letter)
    await note(visit, "dropped dead letters", [letter.id for letter in letters], reason=reason)
    return visit.to("/system/dead")


async def _chosen(visit: Visit, letter_id: str) -> Sequence[DeadLetter]:
    if letter_id:
        return [await visit.desk.operator.dead_letter(letter_id)]
    return (await _dead(visit))["letters"]


async def _letter(visit: Visit) -> DeadLetter:
    return await visit.desk.operator.dead_letter(visit.request.path_params["letter"])
