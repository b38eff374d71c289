"""keys, usage: who may come in, and what they used."""

import argparse
import re
import time
from typing import Any

from archive_cli.commands._options import Verbs, gateway, gateway_options, group, home_option, running, verb
from archive_cli.console import Console

_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
SCOPES = ("inference", "platform", "operator")
"""Written out, since the contracts take longer to import than `--help` may."""


def add(verbs: Verbs) -> None:
    """Add these verbs."""
    options = [home_option()]
    keys = group(verbs, "keys", about="Make, list, rotate and revoke API keys.")
    create = verb(keys, "create", run_create, about="Make a key; it is shown once.", options=options)
    create.add_argument("name", help="what it is for")
    create.add_argument("--tenant", default="default", help="whose documents and conversations it sees")
    create.add_argument(
        "--scope", action="append", choices=SCOPES, help="what it may do; repeatable (default: inference, platform)"
    )
    create.add_argument("--expires", type=_seconds, metavar="TIME", help="such as 12h, 30d or 8w; else never")
    for limit, what in (("requests", "requests a minute"), ("tokens", "tokens a minute"), ("at-once", "requests")):
        create.add_argument(f"--{limit}", type=_positive, metavar="N", help=f"at most N {what}")
    verb(keys, "list", run_list, about="List keys.", options=options)
    rotate = verb(keys, "rotate", run_rotate, about="Give a key a new secret, shown once.", options=options)
    rotate.add_argument("--overlap", type=_seconds, default=0, metavar="TIME", help="how long the old one still works")
    revoke = verb(keys, "revoke", run_revoke, about="Make a key void at once.", options=options)
    for parser in (rotate, revoke):
        parser.add_argument("id", help="as `keys list` shows it")
    used = verb(verbs, "usage", run_usage, about="Show what keys used of models.", options=[gateway_options()])
    used.add_argument("--start", metavar="DATE", help="first day, UTC (default: thirty days ago)")
    used.add_argument("--end", metavar="DATE", help="last day")
    used.add_argument("--tenant", help="another tenant's; for operators")


def run_create(args: argparse.Namespace, console: Console) -> int:
    """Make a key."""
    from archive_cli.keys import create_key, list_keys
    from archive_contracts.keys import USUAL_SCOPES, KeyLimits

    info = running(args)
    first = not any(key["state"] == "active" for key in list_keys(info))
    limits = KeyLimits(requests_per_minute=args.requests, tokens_per_minute=args.tokens, concurrent=args.at_once)
    scopes = tuple(args.scope or USUAL_SCOPES)
    made = create_key(
        info, args.name, tenant=args.tenant, scopes=scopes, limits=limits, expires_in_s=args.expires or None
    )
    _show_secret(made, console)
    if first:
        console.note("From now on every request needs a key: set ARCHIVE_API_KEY for this command.")
    return 0


def run_list(args: argparse.Namespace, console: Console) -> int:
    """List keys."""
    from archive_cli.keys import list_keys

    rows = list_keys(running(args))
    console.json({"keys": rows})
    if not rows:
        console.text("There are no keys: the gateway is open to this machine, and closed to all others.")
        return 0
    console.table(
        ("id", "name", "tenant", "scopes", "ends in", "state", "created", "expires"),
        (
            (
                *(row["id"], row["name"], row["tenant"], ",".join(row["scopes"]), row["hint"], row["state"]),
                *(_day(row["created_at"]), _day(row["expires_at"])),
            )
            for row in rows
        ),
    )
    return 0


def run_rotate(args: argparse.Namespace, console: Console) -> int:
    """Give a key a new secret."""
    from archive_cli.keys import rotate_key

    _show_secret(rotate_key(running(args), args.id, overlap_s=args.overlap), console)
    return 0


def run_revoke(args: argparse.Namespace, console: Console) -> int:
    """Make a key void."""
    from archive_cli.keys import revoke_key

    key = revoke_key(running(args), args.id)
    console.json(key)
    console.text(f"Revoked {key['id']} ({key['name']}).")
    return 0


def run_usage(args: argparse.Namespace, console: Console) -> int:
    """Show usage."""
    wanted = {name: value for name in ("start", "end", "tenant") if (value := getattr(args, name))}
    with gateway(args) as door:
        report = door.get("/v1/usage", **wanted)
    console.json(report)
    console.table(
        ("day", "key", "model", "requests", "prompt", "completion", "cut"),
        (
            (
                *(row["day"], row["key"], row["model"], row["requests"]),
                *(row["prompt_tokens"], row["completion_tokens"], row["cut"]),
            )
            for row in report["rows"]
        ),
    )
    console.text(f"{report['requests']} requests, {report['total_tokens']} tokens.")
    return 0


def _show_secret(made: dict[str, Any], console: Console) -> None:
    console.json(made)
    console.text(made["key"])
    if not console.as_json:
        console.note(f"{made['id']}: keep it now, it is not shown again.")


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,6})([hdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: a number with h, d or w, such as 30d")
    return int(match[1]) * _UNITS[match[2]]


def _positive(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")


def _day(seconds: int | None) -> str:
    return "-" if seconds is None else time.strftime("%Y-%m-%d", time.localtime(seconds))
