"""Look into the chunks of an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic_core import from_json

Json = dict[str, Any]


def json_object(text: str) -> Json | None:
    """Return the object that a text is, None when it is none."""
    try:
        parsed = from_json(text)
    except ValueError:
        # It knows no half of a surrogate pair; Python does, and some servers cut a character in two.
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return None
    return cast("Json", parsed) if isinstance(parsed, dict) else None


def choices(parsed: Mapping[str, Any]) -> list[Json]:
    """Return the choices of a chunk; what has another shape is left out."""
    choices = parsed.get("choices")
    if not isinstance(choices, list):
        return []
    return [cast("Json", choice) for choice in cast("list[Any]", choices) if isinstance(choice, dict)]


def has_token(choice: Mapping[str, Any]) -> bool:
    """Whether a choice carries a part of the answer, not only a role or usage."""
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return bool(choice.get("text"))
    return any(value for name, value in cast("Json", delta).items() if name != "role")
