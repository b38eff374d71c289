"""Options that several verbs share, and what they mean."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from archive_cli.console import Console
from archive_cli.errors import EXIT_CODES, NotRunningError

if TYPE_CHECKING:
    from archive_cli.gateway import Gateway
    from archive_cli.home import Home
    from archive_cli.runinfo import RunInfo

HIGHEST_PORT = 65_535
MOST_STEPS = 50

Run = Callable[[argparse.Namespace, Console], int]
# argparse has no public name for what add_subparsers returns.
Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def verb(
    verbs: Verbs,
    name: str,
    run: Run,
    *,
    about: str,
    options: Sequence[argparse.ArgumentParser] = (),
) -> argparse.ArgumentParser:
    """Add one verb with its own --help, --json and the shared options it takes."""
    parser = verbs.add_parser(
        name,
        help=about,
        description=about,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_json(), *options],
    )
    parser.set_defaults(run=run)
    return parser


def group(verbs: Verbs, name: str, *, about: str) -> Verbs:
    """Add a noun whose verbs follow it, such as `jobs show`."""
    parser = verbs.add_parser(name, help=about, description=about)
    return parser.add_subparsers(dest="action", required=True, metavar="ACTION")


def home_option() -> argparse.ArgumentParser:
    """Return the option for verbs that work on the data folder."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--home", metavar="DIR", help="data folder (ARCHIVE_HOME; else .archive in the checkout or the current folder)"
    )
    return parser


def gateway_options() -> argparse.ArgumentParser:
    """Return the options for verbs that speak to the gateway."""
    parser = argparse.ArgumentParser(add_help=False, parents=[home_option()])
    parser.add_argument("--url", help="address of the gateway (ARCHIVE_URL; else the one running on the data folder)")
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="S", help="longest silence to bear, seconds (default 300)"
    )
    return parser


def port(text: str) -> int:
    """Read a port from the command line; 0 stands for any free one."""
    if text.isascii() and text.isdigit() and int(text) <= HIGHEST_PORT:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to {HIGHEST_PORT}")


def steps(text: str) -> int:
    """Read the most steps of a run from the command line."""
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_STEPS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of steps: from 1 to {MOST_STEPS}")


def home_of(args: argparse.Namespace) -> "Home":
    """Return the data folder of this call."""
    from archive_cli.home import find_home

    return find_home(args.home, env=os.environ, cwd=Path.cwd())


def running(args: argparse.Namespace) -> "RunInfo":
    """Return what runs on the data folder.

    Raises:
        NotRunningError: nothing does.
    """
    home = home_of(args)
    info = home.read_run() if home.running else None
    if info is None:
        raise NotRunningError(
            f"Nothing runs on {home.path}.", code="not_running", next_step="start it with `archive up` or `make up`"
        )
    return info


def api_key() -> str:
    """Return the key to show the gateway."""
    return os.environ.get("ARCHIVE_API_KEY", "")


def gateway(args: argparse.Namespace) -> "Gateway":
    """Return the gateway of this call.

    Raises:
        NotRunningError: no address was given, and nothing runs on the data folder.
    """
    url = args.url or os.environ.get("ARCHIVE_URL", "") or running(args).url
    from archive_cli.gateway import Gateway

    return Gateway(url, key=api_key(), timeout_s=args.timeout)


def _json() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--json", action="store_true", help="write JSON to stdout, one value a line")
    return parser
