"""backup, restore: an installation in one file, and back."""

import argparse
import asyncio
import os
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from archive_cli.commands._options import Verbs, home_of, home_option, verb
from archive_cli.console import Console, size
from archive_cli.errors import CliError, UsageError
from archive_cli.home import Home

T = TypeVar("T")
_SAVE = """Write streams, memory, conversations, blobs and configuration into one file. The system may run meanwhile.

Takes what runs on the data folder, or the folder at rest; ARCHIVE_BUS_URL and ARCHIVE_BLOBS_URL name servers of a
cluster (with --parts streams blobs; its databases are on volumes). The file holds secrets and everybody's documents."""
_LOAD = """Restore a backup into an empty installation, which must not run. Nothing that is there is overwritten.

ARCHIVE_BUS_URL and ARCHIVE_BLOBS_URL name servers of a cluster, with --parts streams blobs."""


def add(verbs: Verbs) -> None:
    """Add the verbs."""
    saving = verb(verbs, "backup", run_backup, about="Write everything into one file.", options=[home_option()])
    saving.description = _SAVE
    saving.add_argument("file", help="the file to write; it appears when it is whole")
    loading = verb(verbs, "restore", run_restore, about="Fill an empty installation.", options=[home_option()])
    loading.description = _LOAD
    loading.add_argument("file", help="a file of `archive backup`")
    for parser in (saving, loading):
        parser.add_argument(
            "--parts", nargs="+", default=[], metavar="PART", help="streams memory console blobs config"
        )


def run_backup(args: argparse.Namespace, console: Console) -> int:
    """Save."""
    from archive_cli.backup.place import place_of
    from archive_cli.backup.save import save

    home, target = home_of(args), Path(args.file).absolute()
    parts = _parts(args.parts)
    place = place_of(home, os.environ)
    with _held(home, wanted=not place.bus_url and "streams" in parts):
        counts = _run(save(place, target, parts=parts))
    written = counts.pop("bytes")
    console.json({"written": str(target), "bytes": written, "parts": counts})
    told = ", ".join(f"{count} {part}" for part, count in counts.items())
    console.text(f"Wrote {target} ({size(written)}): {told}.")
    return 0


def run_restore(args: argparse.Namespace, console: Console) -> int:
    """Restore."""
    from archive_cli.backup.bundle import Bundle
    from archive_cli.backup.load import load
    from archive_cli.backup.place import place_of

    home, parts = home_of(args), _parts(args.parts)
    bundle = Bundle(Path(args.file))
    if absent := sorted(set(args.parts) - set(bundle.manifest.parts)):
        raise UsageError(f"The backup has no {', '.join(absent)}.", code="no_such_part")
    place = place_of(home, os.environ)
    on_disk = {"memory", "console", "config"} & set(parts) or not place.bus_url
    if on_disk:
        home.prepare()
    with _held(home, wanted=bool(on_disk)):
        counts = _run(load(place, bundle, parts=[part for part in parts if part in bundle.manifest.parts]))
    console.json({"restored": args.file, "home": str(home.path), "parts": counts})
    console.text(f"Restored {', '.join(f'{count} {part}' for part, count in counts.items())} into {home.path}.")
    return 0


def _parts(named: list[str]) -> tuple[str, ...]:
    from archive_cli.backup.place import PARTS

    if unknown := sorted(set(named) - set(PARTS)):
        raise UsageError(f"There is no part {unknown[0]!r}.", code="bad_option", next_step=f"one of {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in named) if named else PARTS


@contextmanager
def _held(home: Home, *, wanted: bool) -> Generator[None]:
    """Keep the data folder from being started meanwhile."""
    if not wanted:
        yield
        return
    if not home.path.is_dir():
        raise UsageError(f"There is no {home.path}.", code="no_home", next_step="name the data folder with --home")
    with home.lock() as own:
        if not own:
            raise UsageError(f"{home.path} is in use.", code="running", next_step="`archive down` first")
        yield


def _run(work: Coroutine[Any, Any, T]) -> T:
    from archive_blobs import BlobError
    from archive_bus import BusError
    from archive_cli.over_bus import told

    try:
        return asyncio.run(work)
    except BusError as error:
        raise told(error) from error
    except BlobError as error:
        raise CliError(error.message, code=error.code, next_step=error.next_step) from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise CliError(
            f"It was not finished: {error.strerror or error}{where}.",
            code="disk_trouble",
            next_step="see to free space and to who may read and write there, then run it again",
        ) from error
