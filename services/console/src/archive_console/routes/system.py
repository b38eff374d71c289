"""The operator's pages: streams, lanes, messages, actions."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from pydantic import ValidationError
from starlette.responses import Response

from archive_bus import BusError
from archive_console.domain.causation import folded, tree
from archive_console.domain.errors import NotThere
from archive_console.domain.overview import overview
from archive_console.domain.readable import readable
from archive_console.routes import letters
from archive_console.routes.asking import FIRST_S
from archive_console.routes.engines import engines
from archive_console.routes.events import streamed, watched
from archive_console.routes.jobs import board
from archive_console.routes.visit import Visit
from archive_contracts.actions import ActionTaken
from archive_contracts.streams import OPERATOR_ACTIONS, STREAMS, Stream, at

LOOK_S = 2.0
LATEST = 50
ACTIONS = 200

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


async def _actions(visit: Visit) -> Values:
    """Return what operators did, the latest first."""
    entries = await visit.desk.operator.messages.latest(OPERATOR_ACTIONS, count=ACTIONS)
    taken = (_action(entry.envelope.data) for entry in entries if entry.envelope)
    return {"actions": [action for action in taken if action]}


def _action(data: bytes) -> ActionTaken | None:
    """Return an action; None for an entry that is none, which must not keep the others from being seen."""
    try:
        return ActionTaken.model_validate_json(data)
    except ValidationError:
        return None


PARTS: Mapping[str, Callable[[Visit], Awaitable[Values]]] = {
    "overview": _overview,
    "streams": _streams,
    "dead": letters.board,
    "engines": engines,
    "actions": _actions,
    "jobs": board,
}
LISTS = frozenset({"dead", "jobs"})
"""Pages whose list can be asked for alone."""


async def show(visit: Visit) -> Response:
    """Show one of the pages."""
    part = visit.request.path_params.get("part", "overview")
    if part not in PARTS:
        raise NotThere("There is no such page.", next_step="Go to the overview.")
    values: Values = {
        "late": True,
        "stream": visit.word("stream"),
        "group": visit.word("group"),
        "words": visit.sought,
        "view": visit.word("view"),
        "query": visit.request.url.query,
        "outcome": letters.outcome(visit),
    }
    with contextlib.suppress(TimeoutError, BusError), anyio.fail_after(FIRST_S):
        values = {**values, "late": False, **await PARTS[part](visit)}
    name = f"{part}_list" if visit.list_only and part in LISTS else part
    return visit.page(f"system/{name}.html", part=part, **values)


async def watch(visit: Visit) -> Response:
    """Send the changing part of a page whenever it changes."""
    part = visit.request.path_params["part"]
    if part not in PARTS:
        raise NotThere("There is no such page.", next_step="Go to the overview.")

    async def look() -> str:
        return visit.html(f"system/{part}_live.html", part=part, **await PARTS[part](visit))

    return streamed(watched(visit, (part, visit.request.url.query), look, every_s=LOOK_S))


async def show_stream(visit: Visit) -> Response:
    """Show a stream: its groups, who reads for them, and its latest messages decoded."""
    stream, partition = _named(visit)
    return visit.page(
        "system/stream.html",
        part="streams",
        query=visit.request.url.query,
        **await _stream(visit, stream, partition),
    )


async def watch_stream(visit: Visit) -> Response:
    """Send what a stream holds, and who reads it, whenever that changes."""
    stream, partition = _named(visit)

    async def look() -> str:
        return visit.html("system/stream_live.html", **await _stream(visit, stream, partition))

    return streamed(watched(visit, ("stream", stream.name, partition), look, every_s=LOOK_S))


async def _stream(visit: Visit, stream: Stream, partition: str) -> Values:
    operator = visit.desk.operator
    key = stream.physical(partition)
    report = next((each for each in await operator.streams() if each.key == key), None)
    groups = report.groups if report else ()
    readers = {group.name: await operator.consumers(stream, group.name, partition=partition) for group in groups}
    entries = await operator.messages.latest(stream, partition=partition, count=LATEST)
    return {"stream": stream, "partition": partition, "report": report, "readers": readers, "entries": entries}


async def show_message(visit: Visit) -> Response:
    """Show one message, decoded, with what came before and after it."""
    stream, partition = _named(visit)
    found = await visit.desk.operator.messages.entry(stream, visit.request.path_params["entry"], partition=partition)
    if found is None:
        raise NotThere("This message is not on its stream any more.", next_step="Go back to the stream.")
    correlation = found.envelope.correlation or found.envelope.id if found.envelope else ""
    related = await visit.desk.operator.messages.related(correlation) if correlation else []
    told = [(key, entry.id, entry.envelope) for key, entry in related if entry.envelope]
    return visit.page(
        "system/message.html",
        part="streams",
        stream=stream,
        partition=partition,
        entry=found,
        fields=readable(found.fields),
        related=[(at(link.key), link) for link in folded(tree(told), found.id)],
    )


def _named(visit: Visit) -> tuple[Stream, str]:
    stream = STREAMS.get(visit.request.path_params["stream"])
    if stream is None:
        raise NotThere("The map has no such stream.", next_step="Go back to the list.")
    return stream, visit.word("partition", "0")
