"""redis-conf: settings of servers that sentinels watch, and of the sentinels."""

import argparse
import asyncio
from pathlib import Path

from archive_cli.commands._options import Verbs, verb
from archive_cli.commands.setup import read_passwords
from archive_cli.console import Console
from archive_cli.errors import UsageError

SERVER_PORT, SENTINEL_PORT = 6379, 26379
_ABOUT = "Write the settings of a server that sentinels watch, or of a sentinel."


def add(verbs: Verbs) -> None:
    """Add the verb."""
    conf = verb(verbs, "redis-conf", run_redis_conf, about=_ABOUT)
    conf.add_argument("role", choices=["server", "sentinel"], help="what it is for")
    conf.add_argument("--own", required=True, metavar="HOST[:PORT]", help="by what name the others reach it")
    conf.add_argument("--first", required=True, metavar="HOST[:PORT]", help="the master while no sentinel knows one")
    conf.add_argument(
        "--sentinels", nargs="+", required=True, metavar="HOST[:PORT]", help="who is asked for the master"
    )
    conf.add_argument("--passwords", metavar="DIR", required=True, help="a file for each user, a password a line")
    conf.add_argument("--base", metavar="FILE", help="settings of a server's role in the system")
    conf.add_argument("--quorum", type=int, default=2, help="how many sentinels have to agree (default 2)")
    conf.add_argument("--down-ms", type=int, default=5000, help="how long a master may be silent (default 5000)")
    conf.add_argument("--out", metavar="FILE", required=True, help="where to write it, for its owner only")


def run_redis_conf(args: argparse.Namespace, console: Console) -> int:
    """Write the settings; those of a sentinel only once, since it keeps there what it has learnt."""
    from archive_cli.home import write_private
    from archive_cli.watched import Place, master_of, sentinel_settings, server_settings
    from archive_contracts import access

    out, user = Path(args.out), access.REPLICA if args.role == "server" else access.SENTINEL
    if args.role == "sentinel" and out.exists():
        console.text(f"Left {out} as the sentinel wrote it.")
        return 0
    try:
        port = SERVER_PORT if args.role == "server" else SENTINEL_PORT
        own, first = Place.of(args.own, port=port), Place.of(args.first, port=SERVER_PORT)
        sentinels = [Place.of(text, port=SENTINEL_PORT) for text in args.sentinels]
    except ValueError as error:
        raise UsageError(f"{error}.", code="no_place", next_step="write HOST or HOST:PORT") from error
    found = read_passwords(args.passwords, users=[user])
    if user not in found:
        raise UsageError(
            f"{user} has no password.", code="no_password", next_step=f"write it to {args.passwords}/{user}"
        )
    master = asyncio.run(master_of([place for place in sentinels if place != own])) or first
    if args.role == "server":
        base = Path(args.base).read_text(encoding="utf-8") if args.base else ""
        text = server_settings(base, own=own, master=master, password=found[user][-1])
    else:
        text = sentinel_settings(
            own=own,
            master=master,
            password=found[user][-1],
            folder=out.parent,
            quorum=args.quorum,
            down_ms=args.down_ms,
        )
    write_private(out, text)
    console.text(f"Wrote {out}; the master is {master.host}:{master.port}.")
    return 0
