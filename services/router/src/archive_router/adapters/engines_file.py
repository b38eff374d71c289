"""The engines file: what an operator decided about pools, read again when it changes."""

import logging
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

log = logging.getLogger(__name__)


class EnginesFile(BaseModel):
    """What the router takes from the file; how to run the engines is read by whoever runs them."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    default: str = ""


class EnginesFileReader:
    """Reads the file when it has changed; a broken file leaves the last good state in force."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._current = EnginesFile()

    def current(self) -> EnginesFile:
        """Return the newest readable state of the file."""
        look = self._look()
        if look != self._seen:
            self._seen = look
            self._current = self._read() if look else EnginesFile()
        return self._current

    def _look(self) -> tuple[int, int, int] | None:
        """Return what differs when the file does; its time alone is too coarse for two changes in a row."""
        try:
            status = self._path.stat() if self._path else None
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino) if status else None

    def _read(self) -> EnginesFile:
        assert self._path
        try:
            return EnginesFile.model_validate(yaml.safe_load(self._path.read_text(encoding="utf-8")) or {})
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
            log.warning("%s cannot be read and is ignored until it changes: %s", self._path, error)
            return self._current
