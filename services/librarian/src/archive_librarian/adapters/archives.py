"""ZIP containers from strangers: limits are checked in the directory first, then while reading."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import IO

from archive_librarian.domain.errors import Corrupt, Encrypted, ResourceLimit

_MOST_MEMBERS = 10_000
_MOST_BYTES = 512 << 20
_HIGHEST_RATIO = 200
_RATIO_FROM = 4 << 20  # below this, a high ratio (blank XML) is harmless
_ENCRYPTED_FLAG = 0x1
_NEXT_STEP = "Check where the file came from: it unpacks to far more than a document holds."


class Container:
    """A ZIP archive opened for reading members by name."""

    def __init__(self, path: Path) -> None:
        """Raises Corrupt for a damaged directory and ResourceLimit for a bomb."""
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as broken:
            raise Corrupt(f"The archive is damaged: {broken}.") from broken
        self._read = 0
        try:
            self._check(self._zip.infolist())
        except ResourceLimit:
            self._zip.close()
            raise

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def names(self) -> list[str]:
        return self._zip.namelist()

    def read(self, name: str) -> bytes:
        """A member's bytes; raises KeyError when it does not exist.

        The directory may lie, so what really comes out is counted.
        """
        try:
            with self._zip.open(name) as member:
                return self._counted(member)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as broken:
            raise Corrupt(f"{name} in the archive is damaged: {broken}.") from broken
        except RuntimeError as locked:  # zipfile's way to ask for a password
            raise Encrypted("The archive is protected by a password.") from locked

    def _counted(self, member: IO[bytes]) -> bytes:
        parts: list[bytes] = []
        while part := member.read(1 << 20):
            self._read += len(part)
            if self._read > _MOST_BYTES:
                raise ResourceLimit(f"The archive unpacks to more than {_MOST_BYTES >> 20} MB.", _NEXT_STEP)
            parts.append(part)
        return b"".join(parts)

    @staticmethod
    def _check(members: list[zipfile.ZipInfo]) -> None:
        if len(members) > _MOST_MEMBERS:
            raise ResourceLimit(f"The archive has {len(members)} members, over {_MOST_MEMBERS}.", _NEXT_STEP)
        if sum(member.file_size for member in members) > _MOST_BYTES:
            raise ResourceLimit(f"The archive unpacks to more than {_MOST_BYTES >> 20} MB.", _NEXT_STEP)
        for member in members:
            ratio = member.file_size / max(member.compress_size, 1)
            if member.file_size > _RATIO_FROM and ratio > _HIGHEST_RATIO:
                raise ResourceLimit(f"{member.filename} is packed {ratio:.0f} to 1.", _NEXT_STEP)
            if member.flag_bits & _ENCRYPTED_FLAG:
                raise Encrypted("The archive is protected by a password.")
