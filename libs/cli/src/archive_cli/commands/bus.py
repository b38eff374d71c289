"""tail, dead, streams: the operator's verbs, straight on the bus."""

import argparse
import json
import time
from typing import Any

from archive_cli.commands._options import Verbs, group, home_option, running, verb
from archive_cli.console import Console
from archive_cli.errors import UsageError

_DETAIL = 160


def add(verbs: Verbs) -> None:
    """Add these verbs."""
    options = [home_option()]
    tail = verb(verbs, "tail", run_tail, about="Follow the messages of a stream, decoded.", options=options)
    tail.add_argument("stream", help="such as documents.events or engine.jobs:small")
    tail.add_argument("--all", action="store_true", help="begin with the oldest message that is kept")
    streams = verb(verbs, "streams", run_streams, about="Show streams with lag and pending.", options=options)
    streams.add_argument("--url", action="store_true", help="write the bus address with its password, for redis-cli -u")
    dead = group(verbs, "dead", about="List, show, replay and drop dead letters.")
    listed = verb(dead, "list", run_dead_list, about="List dead letters, newest first.", options=options)
    listed.add_argument("-n", "--limit", type=int, default=100, help="how many (default 100)")
    show = verb(dead, "show", run_dead_show, about="Show one dead letter: cause and raw fields.", options=options)
    show.add_argument("id", help="as `dead list` shows it")
    replay = verb(dead, "replay", run_dead_replay, about="Put dead letters back into their streams.", options=options)
    drop = verb(dead, "drop", run_dead_drop, about="Delete dead letters.", options=options)
    for parser in (replay, drop):
        parser.add_argument("ids", nargs="*", metavar="ID", help="as `dead list` shows them")
        parser.add_argument("--all", action="store_true", help="all, of --stream and --group when given")
    for parser in (listed, replay, drop):
        parser.add_argument("--stream", default="", help="only of this stream")
        parser.add_argument("--group", default="", help="only of this consumer group")


def run_tail(args: argparse.Namespace, console: Console) -> int:
    """Follow a stream until interrupted."""
    from archive_cli.operator import follow_stream

    def seen(entry: dict[str, Any]) -> None:
        console.json(entry)
        console.text(message_line(entry))

    follow_stream(running(args), args.stream, history=args.all, seen=seen)
    return 0


def run_streams(args: argparse.Namespace, console: Console) -> int:
    """Show every stream and group."""
    info = running(args)
    if args.url:
        console.json({"bus_url": info.bus_url})
        console.text(info.bus_url)
        return 0
    from archive_cli.operator import stream_rows

    rows = stream_rows(info)
    console.json({"streams": rows})
    stream_table(rows, console)
    return 0


def run_dead_list(args: argparse.Namespace, console: Console) -> int:
    """List dead letters."""
    from archive_cli.operator import dead_rows

    rows = dead_rows(running(args), stream=args.stream, group=args.group, limit=args.limit)
    console.json({"dead": rows})
    if not rows:
        console.text("There are no dead letters.")
        return 0
    console.table(
        ("id", "stream", "group", "type", "at", "cause"),
        (
            (row["id"], row["stream"], row["group"], row["type"], _clock(row["at"]), _short(row["cause"]))
            for row in rows
        ),
    )
    return 0


def run_dead_show(args: argparse.Namespace, console: Console) -> int:
    """Show one dead letter."""
    from archive_cli.operator import dead_letter

    found = dead_letter(running(args), args.id)
    console.json(found)
    fields: dict[str, str] = found.pop("fields")
    for name, value in found.items():
        console.text(f"{name:<14} {_clock(value) if name == 'at' else value}")
    for name, value in fields.items():
        console.text(f"  {name:<12} {value}")
    return 0


def run_dead_replay(args: argparse.Namespace, console: Console) -> int:
    """Put dead letters back."""
    return _settle(args, console, replay=True)


def run_dead_drop(args: argparse.Namespace, console: Console) -> int:
    """Delete dead letters."""
    return _settle(args, console, replay=False)


def stream_table(rows: list[dict[str, Any]], console: Console) -> None:
    """Write streams and groups as a table; a lag the server cannot tell is a question mark."""
    console.table(
        ("stream", "group", "length", "lag", "pending", "dead"),
        (
            (
                row["stream"],
                row["group"],
                row["length"],
                "?" if row["lag"] is None else row["lag"],
                row["pending"],
                row["dead"],
            )
            for row in rows
        ),
    )


def message_line(entry: dict[str, Any]) -> str:
    """Return one message on one line: when, what, from whom, its data."""
    if "problem" in entry:
        return f"{entry['entry']}  (undecodable: {entry['problem']})  {_short(json.dumps(entry['fields']))}"
    millis = entry["entry"].partition("-")[0]
    when = _clock(int(millis) / 1000) if millis.isdigit() else entry["entry"]
    return f"{when}  {entry.get('type', '?')}  {entry.get('source', '')}  {entry.get('data', '')}"


def _settle(args: argparse.Namespace, console: Console, *, replay: bool) -> int:
    from archive_cli.operator import settle_dead

    if bool(args.ids) == args.all:
        raise UsageError("Name dead letters, or say --all.", code="bad_option", next_step="`archive dead list`")
    ids = settle_dead(running(args), args.ids, replay=replay, stream=args.stream, group=args.group)
    console.json({"replayed" if replay else "dropped": ids})
    console.text(f"{'Replayed' if replay else 'Dropped'} {len(ids)}.")
    return 0


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _DETAIL else f"{flat[:_DETAIL]} ..."
