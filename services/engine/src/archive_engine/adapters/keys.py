"""The keys of engines that were added by API: named in the message, read here."""

import os
from collections.abc import Mapping
from pathlib import Path

from archive_contracts.engine import EngineSpec
from archive_engine.domain.errors import KeyMissing


class Keys:
    """Reads keys from listed variables and from one folder.

    Whoever may add an engine chooses the address that its key is sent to; so only what the operator set aside for this
    can be named.
    """

    def __init__(self, *, variables: tuple[str, ...], folder: Path | None, env: Mapping[str, str] = os.environ) -> None:
        self._variables = variables
        self._folder = folder
        self._env = env

    def of(self, spec: EngineSpec) -> str | None:
        """Return the key of an engine, or None when it needs none.

        Raises:
            KeyMissing: it is not where the message says, or may not be taken from there.
        """
        if spec.api_key_env:
            if spec.api_key_env not in self._variables or not self._env.get(spec.api_key_env):
                raise KeyMissing(
                    f"There is no key for {spec.name!r} in the variable {spec.api_key_env!r}.",
                    next_step="Set it for the host of workers, and list its name in ENGINE_KEY_VARIABLES.",
                )
            return self._env[spec.api_key_env]
        if spec.api_key_file:
            return self._read(spec)
        return None

    def _read(self, spec: EngineSpec) -> str:
        folder = self._folder.resolve() if self._folder else None
        path = (folder / spec.api_key_file).resolve() if folder else None
        try:
            if folder and path and path.is_relative_to(folder):
                return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            pass
        raise KeyMissing(
            f"There is no key for {spec.name!r} in the file {spec.api_key_file!r}.",
            next_step="Put it into the folder that ENGINE_KEYS_DIR of the host of workers names.",
        )
