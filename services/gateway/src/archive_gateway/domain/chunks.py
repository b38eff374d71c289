"""What a chunk of a streamed answer says."""

import json
from typing import Any, cast


def content_of(body: str) -> str:
    """Return the text that a chunk adds to the first choice; nothing for one that adds none, or is none."""
    try:
        chunk: object = json.loads(body)
    except ValueError:
        return ""
    choices = cast("dict[str, Any]", chunk).get("choices") if isinstance(chunk, dict) else None
    for choice in cast("list[Any]", choices) if isinstance(choices, list) else ():
        fields = cast("dict[str, Any]", choice) if isinstance(choice, dict) else {}
        delta = fields.get("delta")
        if fields.get("index", 0) == 0 and isinstance(delta, dict):
            content = cast("dict[str, Any]", delta).get("content")
            return content if isinstance(content, str) else ""
    return ""
