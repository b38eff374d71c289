"""Restores a backup into an empty installation; nothing that is there is overwritten."""

import os
import shutil
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, cast

from archive_blobs import open_blobs
from archive_bus import load_keys, read_keys
from archive_cli.backup.bundle import Bundle
from archive_cli.backup.place import Place, bus_of
from archive_cli.errors import CliError

_BLOCK = 1 << 20


class NotEmptyHome(CliError):
    """A data folder that is to be filled holds data."""


async def load(place: Place, bundle: Bundle, *, parts: Collection[str]) -> dict[str, int]:
    """Restore parts of a backup; return how many things of each.

    Raises:
        NotEmptyHome: the data folder holds something of these parts.
        BusError: the bus does not answer, or holds messages.
        BlobError: the store does not answer.
    """
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(bus_of(place)) if "streams" in parts else ""
        _require_empty(place, parts)
        if url:
            await load_keys(url, iter(()))
        counts: dict[str, int] = {}
        if "blobs" in parts:
            counts["blobs"] = await _load_blobs(place, bundle)
        for part in ("memory", "console"):
            if part in parts:
                counts[part] = sum(_write(place.folders[part] / name, file) for name, file in bundle.members(part))
        if "config" in parts:
            counts["config"] = sum(_write(place.home.path / name, file) for name, file in bundle.members("config"))
        # Last, since from here on services that run take up their work.
        for _, file in bundle.members("bus") if url else ():
            counts["streams"] = await load_keys(url, read_keys(file))
        return counts


def _require_empty(place: Place, parts: Collection[str]) -> None:
    found = [path for part, folder in place.folders.items() if part in parts for path in folder.glob("*.db")]
    if "config" in parts and place.home.engines_file.exists():
        found.append(place.home.engines_file)
    if found:
        raise NotEmptyHome(
            f"{place.home.path} is no empty installation: it holds {found[0].relative_to(place.home.path)}.",
            code="not_empty",
            next_step="restore into another folder with --home, and use that one from then on",
        )


async def _load_blobs(place: Place, bundle: Bundle) -> int:
    blobs, count = open_blobs(place.blobs_url), 0
    for _, file in bundle.members("blobs"):
        await blobs.put(_blocks(file))
        count += 1
    return count


async def _blocks(file: IO[bytes]) -> AsyncGenerator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _write(path: Path, file: IO[bytes]) -> int:
    """Write a file for its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        shutil.copyfileobj(file, cast("IO[bytes]", target))
        target.flush()
        os.fsync(target.fileno())
    return 1
