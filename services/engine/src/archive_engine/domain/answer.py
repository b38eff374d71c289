"""An answer as it grows: text, finish reason and usage out of the chunks that pass by."""

from collections.abc import Mapping
from typing import Any, cast

from archive_contracts.chat import Usage


class Answer:
    """Folds the chunks of a stream, or one whole response, into what the platform keeps of an answer."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self.finish_reason = "stop"
        self.usage = Usage()
        self.model = ""

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return "".join(self._text)

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take in a chunk or a whole response; fields of an unexpected shape are passed over."""
        self.model = str(chunk.get("model") or self.model)
        if isinstance(usage := chunk.get("usage"), dict):
            self.usage = _usage(cast("dict[str, Any]", usage))
        for choice in _dicts(chunk.get("choices")):
            if choice.get("index", 0) == 0:
                self._add_choice(choice)

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        part = choice.get("delta") or choice.get("message")
        content = cast("dict[str, Any]", part).get("content") if isinstance(part, dict) else choice.get("text")
        if isinstance(content, str):
            self._text.append(content)
        if isinstance(reason := choice.get("finish_reason"), str):
            self.finish_reason = reason


def _dicts(value: object) -> list[dict[str, Any]]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _usage(raw: Mapping[str, Any]) -> Usage:
    def count(name: str) -> int:
        value = raw.get(name)
        return value if isinstance(value, int) and value >= 0 else 0

    return Usage(
        prompt_tokens=count("prompt_tokens"),
        completion_tokens=count("completion_tokens"),
        total_tokens=count("total_tokens"),
    )
