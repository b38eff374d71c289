"""Tools that look at a piece of text."""

import re
from collections.abc import Callable
from typing import Literal

from pydantic import Field, JsonValue

from archive_tool_runner.domain.tool import Arguments, Tool

MAX_TEXT = 100_000  # characters

Operation = Literal["length", "word_count", "reverse", "upper", "lower", "title", "extract_numbers"]

# A hyphen is a sign only where no word or number ends before it: 2020-05 is two positive numbers.
_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<=[A-Za-z$€£#(])\d+(?:\.\d+)?")


class TextArguments(Arguments):
    """What to do with a text."""

    operation: Operation
    text: str = Field(max_length=MAX_TEXT)


class CountInTextArguments(Arguments):
    """What to count where."""

    text: str = Field(max_length=MAX_TEXT)
    find: str = Field(description="a letter, word or phrase", min_length=1, max_length=200)


def _numbers(text: str) -> JsonValue:
    """Every number of a text in its order; integers as such, the rest as floats."""
    found: list[JsonValue] = []
    for match in _NUMBER.finditer(text):
        digits = match.group().replace(",", "").replace("−", "-")
        # Beyond the size Python converts, a digit run is an identifier rather than a quantity.
        found.append(float(digits) if "." in digits else int(digits) if len(digits) < 400 else digits)
    return found


def _reverse(text: str) -> JsonValue:
    return text[::-1]


_OPERATIONS: dict[Operation, Callable[[str], JsonValue]] = {
    "length": len,
    "word_count": lambda text: len(text.split()),
    "reverse": _reverse,
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "extract_numbers": _numbers,
}


def _run_text(arguments: TextArguments) -> JsonValue:
    return _OPERATIONS[arguments.operation](arguments.text)


def _run_count(arguments: CountInTextArguments) -> JsonValue:
    return arguments.text.lower().count(arguments.find.lower())


TEXT = Tool(
    name="text",
    description="Length in characters, word count, reversal, upper, lower or title case, or the numbers of a text.",
    arguments=TextArguments,
    run=_run_text,
)

COUNT_IN_TEXT = Tool(
    name="count_in_text",
    description="How often a letter, word or phrase occurs in a text; upper and lower case count alike.",
    arguments=CountInTextArguments,
    run=_run_count,
)
