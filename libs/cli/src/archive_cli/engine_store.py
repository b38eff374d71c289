"""Reads and writes `engines.yaml` and the keys beside it."""

from collections.abc import Mapping

import yaml

from archive_cli.engine_list import EngineEntry, EngineList, read_list
from archive_cli.errors import UsageError
from archive_cli.home import Home, write_private

_HEADER = "# Engines beside the bundled one. Written by `archive engines`; may be edited while the system runs.\n"


def load(home: Home) -> EngineList:
    """Read the file; an absent one is an empty list.

    Raises:
        UsageError: it is no YAML, or not of the expected form.
    """
    try:
        text = home.engines_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return EngineList()
    try:
        return read_list(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UsageError(f"{home.engines_file} is no YAML: {error}", code="bad_engines_file") from error


def save(home: Home, engines: EngineList) -> None:
    """Replace the file in one piece."""
    home.prepare()
    write_private(home.engines_file, _HEADER + yaml.safe_dump(engines.to_json(), sort_keys=False))


def keep_key(home: Home, entry: EngineEntry, env: Mapping[str, str]) -> bool:
    """Keep the engine's key, so that a supervisor started without the variable can use it too.

    Return whether there was one to keep.
    """
    value = env.get(entry.api_key_env, "") if entry.api_key_env else ""
    if value:
        write_private(home.path / "keys" / entry.name, value)
    return bool(value)


def key_of(home: Home, entry: EngineEntry, env: Mapping[str, str]) -> str:
    """Return the engine's key: from its variable, else the kept one, else empty."""
    if not entry.api_key_env:
        return ""
    if value := env.get(entry.api_key_env, ""):
        return value
    try:
        return (home.path / "keys" / entry.name).read_text(encoding="utf-8")
    except OSError:
        return ""


def forget_key(home: Home, entry: EngineEntry) -> None:
    """Remove a kept key."""
    (home.path / "keys" / entry.name).unlink(missing_ok=True)
