"""The data folder: where everything of one installation lives, and who runs it now."""

import fcntl
import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from archive_cli.errors import CliError
from archive_cli.runinfo import RunInfo

_FOLDERS = ("logs", "run", "bus", "state", "blobs", "memory", "models", "keys", "Library-Drop")
_ROOM_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Home:
    """Names of everything in the data folder."""

    path: Path

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.path / "logs"

    @property
    def engines_file(self) -> Path:
        """Engines added by the person, read by router and supervisor."""
        return self.path / "engines.yaml"

    @property
    def drop(self) -> Path:
        """Files put here are ingested."""
        return self.path / "Library-Drop"

    @property
    def models(self) -> Path:
        """Models built at set-up."""
        return self.path / "models"

    @property
    def run_file(self) -> Path:
        """Addresses and processes of the running system."""
        return self.path / "run.json"

    def prepare(self) -> None:
        """Create what is missing, readable by its owner only: it holds documents and credentials."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.chmod(0o700)
            for name in _FOLDERS:
                (self.path / name).mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise CliError(
                f"The data folder {self.path} cannot be prepared: {error.strerror}.",
                code="home_unusable",
                next_step="name another folder with --home or ARCHIVE_HOME",
            ) from error

    @contextmanager
    def lock(self) -> Generator[bool]:
        """Yield whether this process now owns the folder.

        The kernel drops the lock with its process, so a crash leaves nothing to clean up.
        """
        with (self.path / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            try:
                yield True
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    @property
    def running(self) -> bool:
        """Whether a supervisor owns the folder."""
        if not (self.path / "lock").exists():
            return False
        with self.lock() as free:
            return not free

    def read_run(self) -> RunInfo | None:
        """Return what the supervisor last wrote, or None."""
        try:
            found: object = json.loads(self.run_file.read_bytes())
        except (OSError, ValueError):
            return None
        return RunInfo.from_json(cast("Mapping[str, object]", found)) if isinstance(found, dict) else None

    def write_run(self, info: RunInfo) -> None:
        """Replace the run file in one piece, readable by its owner only: it holds passwords."""
        write_private(self.run_file, json.dumps(info.to_json(), indent=1))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; a reader sees the old text or the new, never a part."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has no room for a server's next write."""
    return shutil.disk_usage(folder).free < _ROOM_BYTES


def find_home(named: str | None, *, env: Mapping[str, str], cwd: Path) -> Home:
    """Return the data folder: named, else from ARCHIVE_HOME, else `.archive` in the checkout, else in `cwd`.

    The checkout is the nearest folder above `cwd` that holds `services` and `contracts`, so that the command
    finds the same folder from anywhere inside it.
    """
    chosen = named or env.get("ARCHIVE_HOME", "")
    if chosen:
        return Home(Path(chosen).expanduser().resolve())
    for folder in (cwd, *cwd.parents):
        if (folder / "services").is_dir() and (folder / "contracts").is_dir():
            return Home(folder / ".archive")
    return Home(cwd / ".archive")
