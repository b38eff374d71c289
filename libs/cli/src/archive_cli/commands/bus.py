"""tail, dead, streams, groups: the operator's verbs, straight on the bus."""

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from archive_cli.commands._options import Verbs, group, home_option, running, verb
from archive_cli.console import Console
from archive_cli.errors import UsageError

if TYPE_CHECKING:
    from archive_cli.operator import Filter

_DETAIL = 160


def add(verbs: Verbs) -> None:
    """Add these verbs."""
    options = [home_option()]
    tail = verb(verbs, "tail", run_tail, about="Follow the messages of a stream, decoded.", options=options)
    tail.add_argument("stream", help="such as documents.events or engine.jobs:small")
    tail.add_argument("--all", action="store_true", help="begin with the oldest message that is kept")
    streams = verb(verbs, "streams", run_streams, about="Show streams with lag, pending and ages.", options=options)
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
        parser.add_argument(
            "--reason", default="", metavar="CODE", help="only with this cause, as `dead list` shows it"
        )
    groups = group(verbs, "groups", about="Remove consumer groups that nobody serves any more.")
    gone = verb(groups, "drop", run_group_drop, about="Delete a group and all it has not handled.", options=options)
    gone.add_argument("stream", help="such as documents.events or engine.jobs:small")
    gone.add_argument("group", help="as `streams` shows it")
    gone.add_argument("--yes", action="store_true", help="do not ask")


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

    rows = dead_rows(running(args), _filter(args), limit=args.limit)
    console.json({"dead": rows})
    if not rows:
        console.text("There are no dead letters.")
        return 0
    console.table(
        ("id", "stream", "group", "type", "at", "attempts", "reason", "cause"),
        (
            (
                *(row["id"], row["stream"], row["group"], row["type"], _clock(row["at"])),
                *(row["attempts"], row["code"], _short(row["cause"])),
            )
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


def run_group_drop(args: argparse.Namespace, console: Console) -> int:
    """Delete a group, after a look at what goes with it."""
    from archive_cli.operator import drop_group, find_group

    info = running(args)
    row = find_group(info, args.stream, args.group)
    lag = "an unknown number" if row["lag"] is None else row["lag"]
    told = f"{row['stream']} {row['group']}: {row['pending']} pending, {lag} unread, {row['consumers']} consumers"
    if not args.yes and not _agreed(console, f"{told}. Drop the group and lose these messages for it?"):
        console.note("Nothing was dropped.")
        return 1
    dropped = drop_group(info, args.stream, args.group)
    console.json({"dropped": dropped})
    console.text(f"Dropped {told}.")
    if dropped["mapped"]:
        console.note("The map names this group: it comes back with its next process, from the oldest entry still kept.")
    return 0


def stream_table(rows: list[dict[str, Any]], console: Console) -> None:
    """Write streams and groups as a table; a lag that the server cannot tell is unknown."""
    console.table(
        ("stream", "group", "length", "lag", "pending", "dead", "consumers", "seen", "unsettled", "oldest"),
        (
            (
                *(row["stream"], row["group"], row["length"], "unknown" if row["lag"] is None else row["lag"]),
                *(row["pending"], row["dead"], row["consumers"]),
                *("stale" if row["stale"] else _age(row["seen_s"]), _age(row["unsettled_s"]), _age(row["oldest_s"])),
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
    ids = settle_dead(running(args), args.ids, _filter(args), replay=replay)
    console.json({"replayed" if replay else "dropped": ids})
    console.text(f"{'Replayed' if replay else 'Dropped'} {len(ids)}.")
    return 0


def _filter(args: argparse.Namespace) -> "Filter":
    from archive_cli.operator import Filter

    return Filter(stream=args.stream, group=args.group, reason=args.reason)


def _agreed(console: Console, question: str) -> bool:
    if console.as_json or not sys.stdin.isatty():
        raise UsageError("Nobody is there to ask.", code="confirmation_needed", next_step="say --yes to drop it")
    console.text(f"{question} [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _age(seconds: float | None) -> str:
    """Return an age for people: the two units that matter are one too many."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _DETAIL else f"{flat[:_DETAIL]} ..."
