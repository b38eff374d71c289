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
    """Reads the file when its time of change differs; a broken file leaves the last good state in force."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: float | None = None
        self._current = EnginesFile()

    def current(self) -> EnginesFile:
        """Return the newest readable state of the file."""
        try:
            changed = self._path.stat().st_mtime if self._path else None
        except OSError:
            changed = None
        if changed != self._seen:
            self._seen = changed
            self._current = self._read() if changed is not None else EnginesFile()
        return self._current

    def _read(self) -> EnginesFile:
        assert self._path
        try:
            return EnginesFile.model_validate(yaml.safe_load(self._path.read_text()) or {})
        except (OSError, yaml.YAMLError, ValidationError) as error:
            log.warning("%s cannot be read and is ignored until it changes: %s", self._path, error)
            return self._current
