"""The file of a backup: a tar whose last member names all others with their SHA-256.

bus/keys.bin        what the bus holds, see archive_bus.save_keys
memory/*.db         databases of the services, each whole and of one moment
console/*
config/*            engines.yaml and the keys of engines
blobs/<sha256>
manifest.json
"""

import errno
import hashlib
import io
import json
import os
import re
import tarfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self, cast

from archive_cli.errors import CliError

MANIFEST = "manifest.json"
FORMAT = 1
_BLOCK = 1 << 20
_NAME = re.compile(r"(bus|memory|console|config|blobs)(/[A-Za-z0-9_][A-Za-z0-9_.-]*){1,2}")


class BadBackup(CliError):
    """A file is no backup, or not a whole one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds: the parts, and the digest of each member by its name."""

    version: str
    created_at: float
    parts: tuple[str, ...]
    members: dict[str, str] = field(default_factory=dict[str, str])
    format: int = FORMAT


class BundleWriter:
    """Writes a backup; the file appears when all of it is written. It holds secrets and is for its owner only."""

    def __init__(self, path: Path, *, version: str, parts: tuple[str, ...]) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.{os.getpid()}.part")
        self._manifest = Manifest(version=version, created_at=time.time(), parts=parts)

    def __enter__(self) -> Self:
        try:
            if self._path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise CliError(
                f"{self._path} cannot be written: {error.strerror}.",
                code="unwritable",
                next_step="name a file in a folder that exists",
            ) from error
        self._file = os.fdopen(descriptor, "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            self._part.unlink(missing_ok=True)

    @property
    def written(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def add(self, name: str, source: Path) -> None:
        """Add a file under a name."""
        with source.open("rb") as file:
            self._add(name, cast("IO[bytes]", file), source.stat().st_size)

    def _add(self, name: str, file: IO[bytes], size: int) -> None:
        told = tarfile.TarInfo(name)
        told.size, told.mode, told.mtime = size, 0o600, self._manifest.created_at
        reader = _Hashing(file)
        self._tar.addfile(told, cast("IO[bytes]", reader))
        self._manifest.members[name] = reader.digest

    def _finish(self) -> None:
        text = json.dumps(
            {name: getattr(self._manifest, name) for name in ("format", "version", "created_at", "parts", "members")}
        ).encode()
        told = tarfile.TarInfo(MANIFEST)
        told.size, told.mode = len(text), 0o600
        self._tar.addfile(told, io.BytesIO(text))
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.replace(self._path)


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        data = self._file.read(size)
        self._sha.update(data)
        return data

    @property
    def digest(self) -> str:
        """The SHA-256 of what was read."""
        return self._sha.hexdigest()


class Bundle:
    """A backup that was read to its end and found whole, before anything is restored from it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _read(path) as tar:
            found = {member.name: _digest(tar, member) for member in tar if member.name != MANIFEST}
            self.manifest = _manifest(path, tar)
        if found != self.manifest.members:
            wrong = sorted({name for name, _ in found.items() ^ self.manifest.members.items()})
            raise BadBackup(
                f"{path} is damaged: {', '.join(wrong[:3])} differ from what was saved.",
                code="backup_damaged",
                next_step="take another copy of it, or an older backup",
            )

    def members(self, part: str) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield (name below the part, its bytes) of one part."""
        with _read(self._path) as tar:
            for member in tar:
                if member.name.startswith(f"{part}/") and (file := tar.extractfile(member)):
                    yield member.name.removeprefix(f"{part}/"), file


@contextmanager
def _read(path: Path) -> Generator[tarfile.TarFile]:
    try:
        with tarfile.open(path, mode="r:") as tar:
            yield tar
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BadBackup(
            f"{path} cannot be read as a backup: {error}.",
            code="backup_unreadable",
            next_step="name a file of `backup`",
        ) from error


def _digest(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = tar.extractfile(member) if member.isreg() and _NAME.fullmatch(member.name) else None
    if file is None:
        raise BadBackup(f"{member.name!r} has no place in a backup.", code="backup_damaged", next_step="do not use it")
    sha = hashlib.sha256()
    while block := file.read(_BLOCK):
        sha.update(block)
    return sha.hexdigest()


def _manifest(path: Path, tar: tarfile.TarFile) -> Manifest:
    try:
        file = tar.extractfile(MANIFEST)
        told: dict[str, Any] = json.loads(file.read()) if file else {}
        told["parts"] = tuple(told["parts"])
        manifest = Manifest(**told)
    except (KeyError, TypeError, ValueError) as error:
        raise BadBackup(
            f"{path} has no end: it was not written to its last byte.",
            code="backup_damaged",
            next_step="take another copy of it, or an older backup",
        ) from error
    if manifest.format != FORMAT:
        raise BadBackup(
            f"{path} was written by release {manifest.version}.", code="backup_newer", next_step="use that release"
        )
    return manifest
