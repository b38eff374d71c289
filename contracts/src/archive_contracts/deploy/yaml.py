"""YAML of plain values, without a library: mappings and lists as blocks, scalars as JSON, which YAML reads."""

import json
import re
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
HEADER = "# Written from streams.py by make manifests; do not edit.\n"


def document(*written: Json) -> str:
    """Return values as one generated file of YAML documents."""
    return HEADER + values(*written)


def values(*written: Json) -> str:
    """Return values as YAML documents."""
    return "---\n".join("\n".join(_mapping(value, "")) + "\n" for value in written)


def _mapping(value: Json, indent: str) -> Iterator[str]:
    for key, item in value.items():
        yield from _entry(f"{indent}{_scalar(key)}:", item, indent)


def _entry(head: str, item: Any, indent: str) -> Iterator[str]:
    if isinstance(item, dict) and item:
        yield head
        yield from _mapping(item, indent + "  ")  # pyright: ignore[reportUnknownArgumentType] - JSON values
    elif isinstance(item, list) and item:
        yield head
        for element in item:  # pyright: ignore[reportUnknownVariableType] - JSON values
            yield from _element(element, indent + "  ")
    else:
        yield f"{head} {_scalar(item)}"


def _element(element: Any, indent: str) -> Iterator[str]:
    if isinstance(element, dict) and element:
        lines = list(_mapping(element, indent + "  "))  # pyright: ignore[reportUnknownArgumentType] - JSON values
        yield f"{indent}- {lines[0].lstrip()}"
        yield from lines[1:]
    else:
        yield f"{indent}- {_scalar(element)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
