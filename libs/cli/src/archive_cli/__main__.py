"""The edge of the command: arguments in, exit code out."""

import argparse
import os
import sys
from collections.abc import Sequence

from archive_cli import __version__
from archive_cli.commands import backup, bus, doctor, engines, ingress, keys, library, life, setup, talk, watched
from archive_cli.console import Console
from archive_cli.errors import EXIT_CODES, INTERRUPTED, USAGE, CliError

_ABOUT = "Archive-AI: your documents and conversations, answered with sources, on your own machine."
_START = """start:
  archive up                       start everything; Ctrl-C ends it
  archive ingest FILE-OR-FOLDER    add documents
  archive ask "QUESTION"           an answer with its sources
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    parser = argparse.ArgumentParser(
        prog="archive",
        description=_ABOUT,
        epilog=f"{_START}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"archive {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    for module in (life, library, talk, engines, keys, ingress, bus, doctor, backup, setup, watched):
        module.add(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    if not words:
        parser.print_help(sys.stderr)
        return USAGE
    args = parser.parse_args(words)
    console = Console(as_json=args.json)
    try:
        return args.run(args, console)
    except CliError as error:
        console.problem(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, `head` perhaps, has seen enough. Python would complain once more while it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
