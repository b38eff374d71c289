"""The JSON tool: is it valid, show it readably, take one value out of it."""

import json
import re
from typing import Literal, NoReturn

from pydantic import Field, JsonValue

from archive_tool_runner.domain.errors import ToolFailed
from archive_tool_runner.domain.tool import Arguments, Tool

MAX_TEXT = 100_000  # characters
MAX_NESTING = 200  # far below the depth at which the decoder or the encoder would hit the recursion limit

_KINDS = {"dict": "object", "list": "array", "str": "string", "bool": "boolean", "NoneType": "null"}
_DOTTED = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]|\[(['\"])(.*?)\3\]")


class JsonArguments(Arguments):
    """What to do with a JSON text."""

    operation: Literal["validate", "pretty", "extract"]
    text: str = Field(max_length=MAX_TEXT)
    path: str = Field(default="", description="for extract: user.tags[0] or /user/tags/0", max_length=1000)


def _run(arguments: JsonArguments) -> JsonValue:
    if arguments.operation == "validate":
        return _validate(arguments.text)
    value = _decode(arguments.text)
    if arguments.operation == "pretty":
        return json.dumps(value, ensure_ascii=False, indent=2)
    return extract(value, arguments.path)


def _validate(text: str) -> JsonValue:
    try:
        value = _decode(text)
    except ToolFailed as error:
        return {"valid": False, "error": error.message}
    return {"valid": True, "type": _KINDS.get(type(value).__name__, "number")}


def _decode(text: str) -> JsonValue:
    hint = "Check quotes, commas and brackets there."
    if _nesting(text) > MAX_NESTING:
        raise ToolFailed(f"The JSON is nested deeper than {MAX_NESTING} levels.", next_step="Pass an inner part of it.")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ToolFailed(f"This is not valid JSON: {error.msg} at {where}.", next_step=hint) from error
    except ValueError as error:
        raise ToolFailed(f"This is not valid JSON: {error}.", next_step=hint) from error


def _nesting(text: str) -> int:
    """An upper bound of the depth: brackets inside of strings count too."""
    depth = deepest = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def extract(value: JsonValue, path: str) -> JsonValue:
    """The value at a JSON pointer (RFC 6901, `/a/0`) or a dotted path (`a[0].b`, with or without a leading `$`).

    Raises:
        ToolFailed: nothing is there; the message says what is.
    """
    walked = ""
    for part in _parts(path):
        value = _child(value, part, walked or "the top level")
        walked = f"{walked}/{part}"
    return value


def _parts(path: str) -> list[str]:
    if path.startswith("/"):
        return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    dotted = path.removeprefix("$")
    parts: list[str] = []
    position = 0
    while position < len(dotted):
        match = _DOTTED.match(dotted, position)
        if match is None:
            raise ToolFailed(f"{path[:60]!r} is no path.", next_step="Write user.tags[0] or /user/tags/0.")
        parts.append(next(group for group in match.group(1, 2, 4) if group is not None))
        position = match.end()
    return parts


def _child(value: JsonValue, part: str, where: str) -> JsonValue:
    if isinstance(value, dict):
        if part in value:
            return value[part]
        raise ToolFailed(f"There is no {part[:60]!r} at {where}.", next_step=f"It has: {', '.join(list(value)[:20])}.")
    if isinstance(value, list):
        if part.isascii() and part.isdigit() and len(part) < 10 and int(part) < len(value):
            return value[int(part)]
        raise ToolFailed(f"There is no item {part[:60]!r} at {where}.", next_step=f"It has {len(value)} items.")
    raise ToolFailed(f"There is nothing below {where}.", next_step="Use a shorter path.")


JSON = Tool(
    name="json",
    description="Validates JSON text, formats it readably, or extracts one value by its path.",
    arguments=JsonArguments,
    run=_run,
)
