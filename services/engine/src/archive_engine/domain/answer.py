"""An answer as it grows: text, finish reason and usage out of the chunks that pass by."""

import json
from collections.abc import Mapping
from typing import Any, cast

from archive_contracts.base import Spent
from archive_contracts.chat import Usage

CHARS_A_TOKEN = 4
"""What prose takes; for a prompt whose engine did not live to count it."""
MOST_TOKENS = 2**40
"""No call takes more: an engine that says so has not counted."""
_NONE = Usage()


class Answer:
    """Folds the chunks of a stream, or one whole response, into what the platform keeps of an answer."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._parts = 0
        self._counted = False
        self.finish_reason = "stop"
        self.usage = _NONE
        self.model = ""

    @property
    def text(self) -> str:
        """The text of the first choice; halves of a character that came in chunks of their own are one again."""
        text = "".join(self._text)
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take in a chunk or a whole response; fields of an unexpected shape are passed over."""
        self.model = str(chunk.get("model") or self.model)
        if isinstance(usage := chunk.get("usage"), dict):
            self.usage = _usage(cast("dict[str, Any]", usage))
            self._counted = True
        written = False
        for choice in _dicts(chunk.get("choices")):
            written = written or _written(choice)
            if choice.get("index", 0) == 0:
                self._add_choice(choice)
        self._parts += written

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answer so far: as the engine counted, else one a chunk, which is how engines stream."""
        return self.usage.completion_tokens if self._counted else self._parts

    def spent(self, *, engine: str, model: str, prompt_chars: int) -> Spent:
        """Return what an answer that ends here has used."""
        return Spent(
            engine=engine,
            model=self.model or model,
            prompt_tokens=self.usage.prompt_tokens if self._counted else prompt_chars // CHARS_A_TOKEN,
            completion_tokens=self.completion_tokens,
            estimated=not self._counted,
        )

    def read(self, chunk: str) -> None:
        """Take in a chunk that is still JSON; what is none is passed over."""
        try:
            parsed: object = json.loads(chunk)
        except ValueError:
            return
        if isinstance(parsed, dict):
            self.add(cast("dict[str, Any]", parsed))

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        part = choice.get("delta") or choice.get("message")
        content = cast("dict[str, Any]", part).get("content") if isinstance(part, dict) else choice.get("text")
        if isinstance(content, str):
            self._text.append(content)
        if isinstance(reason := choice.get("finish_reason"), str):
            self.finish_reason = reason


def _written(choice: Mapping[str, Any]) -> bool:
    """Whether a choice of a chunk carries a part of the answer."""
    part = choice.get("delta")
    if not isinstance(part, dict):
        return bool(choice.get("text"))
    return any(value for name, value in cast("dict[str, Any]", part).items() if name != "role")


def _dicts(value: object) -> list[dict[str, Any]]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _usage(raw: Mapping[str, Any]) -> Usage:
    def count(name: str) -> int:
        value = raw.get(name)
        return value if isinstance(value, int) and 0 <= value <= MOST_TOKENS else 0

    return Usage(
        prompt_tokens=count("prompt_tokens"),
        completion_tokens=count("completion_tokens"),
        total_tokens=count("total_tokens"),
    )
