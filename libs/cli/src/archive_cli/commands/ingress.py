"""ingress: doors for foreign publishers."""

import argparse
import os
from typing import TYPE_CHECKING

from archive_cli.commands._options import Verbs, group, home_of, home_option, running, verb
from archive_cli.console import Console

if TYPE_CHECKING:
    from archive_cli.home import Home

_ABOUT = """Make a stream, a user and a rule: who writes to it and what becomes of it.

On the data folder that runs here, or on the server of ARCHIVE_BUS_URL with an administrator's credential. There, keep
the password as a file `ingress-NAME` with those of the other users: `archive acl` and `archive bootstrap` read it."""


def add(verbs: Verbs) -> None:
    """Add these verbs."""
    ingress = group(verbs, "ingress", about="Open and close doors for foreign publishers.")
    options = [home_option()]
    create = verb(ingress, "create", run_create, about="Make a stream, a user and a rule.", options=options)
    create.description = _ABOUT
    create.add_argument("name", help="such as acme: its stream is ingress.acme, its user ingress-acme")
    create.add_argument("--tenant", required=True, help="whose everything is that comes in")
    create.add_argument("--types", nargs="+", default=["document.ingest.v1"], metavar="TYPE", help="what is let in")
    verb(ingress, "list", run_list, about="List open doors.", options=options)
    remove = verb(ingress, "remove", run_remove, about="Close a door.", options=options)
    remove.add_argument("name", help="as `ingress list` shows it")


def run_create(args: argparse.Namespace, console: Console) -> int:
    """Open a door."""
    from archive_cli.ingress import check, create

    check(args.name, args.types)
    url, home = _place(args)
    made = create(url, home, args.name, tenant=args.tenant, types=args.types)
    console.json(made)
    console.text(f"{made['user']} may write to {made['stream']}; what comes in is of tenant {made['tenant']}.")
    console.text(f"password  {made['password']}")
    console.text(
        f'publish   XADD {made["stream"]} * type {args.types[0]} data \'{{"text": "...", "filename": "a.txt"}}\''
    )
    return 0


def run_list(args: argparse.Namespace, console: Console) -> int:
    """List doors."""
    from archive_cli.ingress import doors

    found = doors(_place(args)[0])
    console.json({"ingresses": found})
    if not found:
        console.text("Only ingress.default is open.")
    else:
        console.table(
            ("name", "tenant", "types"), ((door["name"], door["tenant"], " ".join(door["types"])) for door in found)
        )
    return 0


def run_remove(args: argparse.Namespace, console: Console) -> int:
    """Close a door."""
    from archive_cli.ingress import remove

    remove(*_place(args), args.name)
    console.json({"removed": args.name})
    console.text(f"ingress.{args.name} is closed; what its stream still holds stays until `archive groups drop`.")
    return 0


def _place(args: argparse.Namespace) -> "tuple[str, Home | None]":
    """Return the bus, and the data folder when its server is ours."""
    if url := os.environ.get("ARCHIVE_BUS_URL", ""):
        return url, None
    return running(args).bus_url, home_of(args)
