"""Index snapshots that are whole or not there: written beside, synced, sealed with a checksum, renamed.

hnswlib writes in place and loads flipped bytes without a word, so a file counts only when its footer fits: 8 bytes of
magic, the payload's length as a little-endian 64-bit number, its BLAKE2b digest of 32 bytes.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from archive_memory.domain.errors import SnapshotCorrupt

_MAGIC = b"AAVECS01"
_FOOTER = struct.Struct("<8sQ32s")
_BLOCK = 1 << 20


def write_sealed(path: Path, write: Callable[[Path], None]) -> None:
    """Have ``write`` make a file, seal it and put it in the place of ``path``.

    Whenever the process dies, ``path`` is the old file or the new one.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write(part)
        digest, length = _digest(part, part.stat().st_size)
        with part.open("ab") as file:
            file.write(_FOOTER.pack(_MAGIC, length, digest))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    _sync_folder(path.parent)


def check_sealed(path: Path) -> int:
    """Return the length of a sealed file's payload, which begins at its start.

    Raises:
        SnapshotCorrupt: there is no such file, or it is not what was written.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - _FOOTER.size))
            footer = file.read(_FOOTER.size)
        if len(footer) < _FOOTER.size:
            raise _corrupt(path, "is cut short")
        magic, length, expected = _FOOTER.unpack(footer)
        if magic != _MAGIC or length != size - _FOOTER.size:
            raise _corrupt(path, "is cut short or is no snapshot")
        digest, _ = _digest(path, length)
    except OSError as error:
        raise _corrupt(path, f"cannot be read ({error.strerror})") from error
    if digest != expected:
        raise _corrupt(path, "does not match its checksum")
    return length


def copy_payload(path: Path, length: int, target: Path) -> None:
    """Write the payload of a checked file to ``target``, for loaders that accept nothing behind it."""
    with path.open("rb") as source, target.open("wb") as out:
        left = length
        while left and (block := source.read(min(_BLOCK, left))):
            out.write(block)
            left -= len(block)


def _corrupt(path: Path, why: str) -> SnapshotCorrupt:
    return SnapshotCorrupt(
        f"The index snapshot {path.name} {why}.",
        next_step="Nothing is lost: delete the file, the index is built again from the store.",
    )


def _digest(path: Path, length: int) -> tuple[bytes, int]:
    digest = hashlib.blake2b(digest_size=32)
    left = length
    with path.open("rb") as file:
        while left and (block := file.read(min(_BLOCK, left))):
            digest.update(block)
            left -= len(block)
    return digest.digest(), length - left


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
