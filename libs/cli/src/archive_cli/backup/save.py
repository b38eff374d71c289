"""Saves an installation while it runs, or at rest.

Streams go first, then what services made of them: a message that is handled in between is saved as unhandled and its
effect too, and is handled once more after a restore. The other way round its effect would be lost. Blobs go last, since
the databases name them.
"""

import sqlite3
import tempfile
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from archive_blobs import BlobMissing, open_blobs
from archive_bus import save_keys
from archive_cli import __version__
from archive_cli.backup.bundle import BundleWriter
from archive_cli.backup.place import Place, bus_of


async def save(place: Place, target: Path, *, parts: Collection[str]) -> dict[str, int]:
    """Write a backup; return how many things of each part it holds, and its bytes.

    Raises:
        CliError: the file cannot be written.
        BusError: the bus does not answer.
        BlobError: the store does not answer, or holds a damaged blob.
    """
    counts: dict[str, int] = {}
    with (
        BundleWriter(target, version=__version__, parts=tuple(parts)) as bundle,
        tempfile.TemporaryDirectory(prefix="archive-backup-", dir=target.parent) as folder,
    ):
        spool = Path(folder) / "spool"
        if "streams" in parts:
            counts["streams"] = await _save_streams(place, bundle, spool)
        for part in ("memory", "console"):
            if part in parts:
                counts[part] = _save_folder(part, place.folders[part], bundle, spool)
        if "config" in parts:
            counts["config"] = _save_config(place, bundle)
        if "blobs" in parts:
            counts["blobs"] = await _save_blobs(place, bundle, spool)
        counts["bytes"] = bundle.written
    return counts


async def _save_streams(place: Place, bundle: BundleWriter, spool: Path) -> int:
    count = 0
    async with bus_of(place) as url:
        with spool.open("wb") as file:
            async for saved in save_keys(url):
                saved.write(file)
                count += 1
    bundle.add("bus/keys.bin", spool)
    return count


def _save_folder(part: str, folder: Path, bundle: BundleWriter, spool: Path) -> int:
    """Add databases as of one moment, whoever writes to them, and the small files beside them.

    What has more than a database's name (its log, its lock, its index of vectors) is of its process, and made anew.
    """
    count = 0
    for path in sorted(folder.glob("*")):
        if not path.is_file() or path.name.startswith(".") or (".db" in path.name and path.suffix != ".db"):
            continue
        if path.suffix == ".db":
            _copy_database(path, spool)
        bundle.add(f"{part}/{path.name}", spool if path.suffix == ".db" else path)
        count += 1
    return count


def _copy_database(path: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        # In one file: the copy would otherwise begin with an empty log beside it.
        copy.execute("PRAGMA journal_mode = DELETE")


def _save_config(place: Place, bundle: BundleWriter) -> int:
    found = [(place.home.engines_file, "config/engines.yaml")]
    found += [(path, f"config/keys/{path.name}") for path in sorted((place.home.path / "keys").glob("*"))]
    there = [(path, name) for path, name in found if path.is_file()]
    for path, name in there:
        bundle.add(name, path)
    return len(there)


async def _save_blobs(place: Place, bundle: BundleWriter, spool: Path) -> int:
    blobs, count = open_blobs(place.blobs_url), 0
    async for ref in blobs.refs():
        try:
            await blobs.fetch(ref, spool)
        except BlobMissing:
            continue  # deleted since it was listed
        bundle.add(f"blobs/{ref.sha256}", spool)
        count += 1
    return count
