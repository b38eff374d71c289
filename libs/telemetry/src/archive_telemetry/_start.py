"""From the environment to a running service."""

import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from archive_telemetry._app import App
from archive_telemetry._run import UNUSABLE, run

S = TypeVar("S", bound=BaseModel)


def run_service(name: str, settings: type[S], build: Callable[[S], App]) -> NoReturn:
    """Read a service's settings and run it until told to stop; the body of every ``__main__``.

    The process exits as that of ``run`` does; where a setting is missing or wrong, with 2 and a line for each.
    """
    run(build(read_settings(name, settings)))


def read_settings(name: str, settings: type[S]) -> S:
    """Return the settings of the environment; end the process with 2 where they do not suffice."""
    try:
        return settings()
    except ValidationError as error:
        sys.stderr.write("".join(f"{name}: {line}\n" for line in _in_words(error, settings)))
        sys.exit(UNUSABLE)


def _in_words(error: ValidationError, settings: type[BaseModel]) -> list[str]:
    """Return what is wrong with the environment, without the values: keys are among them."""
    lines: list[str] = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        place = ".".join(_variable(part, settings) for part in fault["loc"])
        text = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{place}: {text}" if place else text)
    return lines


def _variable(part: int | str, settings: type[BaseModel]) -> str:
    """Return the name of the variable of a field; one with an alias is reported by it already."""
    if part in settings.model_fields:
        return f"{settings.model_config.get('env_prefix', '')}{part}".upper()
    return str(part)
