"""Put a streamed completion together again, as the same server would have answered without streaming.

Works on chat completions and on text completions, and keeps fields it has never heard of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

Json = dict[str, Any]

_CHUNK_OBJECT: Final = "chat.completion.chunk"
_REPLACED: Final = frozenset({"role", "id", "type", "index"})
"""Fields of a delta that name something: a repeat says the same again and is not appended."""


class Assembler:
    """Add the chunks in order, then ask for the result."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._head: Json = {}
        self._choices: dict[int, Json] = {}
        self._messages: dict[int, Json] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take one decoded chunk; parts that do not have the documented shape are left out."""
        for name, value in chunk.items():
            if name == "choices":
                for choice in _objects(value):
                    self._add_choice(choice)
            elif value is not None or name not in self._head:
                self._head[name] = value

    def result(self) -> Json:
        """Return the completion object of all chunks so far."""
        result = dict(self._head)
        if result.get("object", _CHUNK_OBJECT) == _CHUNK_OBJECT:
            result["object"] = "chat.completion"
        result["choices"] = [self._choice(index) for index in sorted(self._choices)]
        return result

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        index = choice.get("index", 0)
        if not isinstance(index, int):
            return
        kept = self._choices.setdefault(index, {"index": index, "finish_reason": None})
        for name, value in choice.items():
            if name == "delta":
                if isinstance(value, dict):
                    _merge_delta(self._messages.setdefault(index, {}), cast("Json", value))
            elif name in {"text", "logprobs"}:
                kept[name] = _joined(kept.get(name), value)
            elif value is not None or name not in kept:
                kept[name] = value

    def _choice(self, index: int) -> Json:
        choice = dict(self._choices[index])
        if "text" in choice:
            return choice
        message: Json = {"role": "assistant", "content": None, **self._messages.get(index, {})}
        if "tool_calls" in message:
            calls = _objects(message["tool_calls"])
            message["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in calls]
        return {"index": index, "message": message, **choice}


def _merge_delta(message: Json, delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            calls = message.setdefault("tool_calls", [])
            for part in _objects(value):
                _merge_call(calls, part)
        elif name in _REPLACED:
            message[name] = value if value is not None else message.get(name)
        else:
            message[name] = _joined(message.get(name), value)


def _merge_call(calls: list[Json], part: Mapping[str, Any]) -> None:
    """Merge a tool call's part into the call with its `index`.

    Servers that leave `index` out send a whole call at once with its id, or go on with the last one.
    """
    index = part.get("index")
    if not isinstance(index, int):
        known = [call["index"] for call in calls if "id" not in part or call.get("id") == part["id"]]
        index = known[-1] if known else len(calls)
    call = next((call for call in calls if call["index"] == index), None)
    if call is None:
        call = {"index": index}
        calls.append(call)
        calls.sort(key=lambda call: cast("int", call["index"]))
    for name, value in part.items():
        if name == "function" and isinstance(value, dict):
            call["function"] = _merged_function(cast("Json", call.get("function") or {}), cast("Json", value))
        elif name != "index" and (value is not None or name not in call):
            call[name] = value


def _merged_function(old: Mapping[str, Any], part: Mapping[str, Any]) -> Json:
    function = dict(old)
    for name, value in part.items():
        if name == "name" and value == function.get("name"):
            continue
        function[name] = _joined(function.get(name), value)
    return function


def _joined(old: Any, new: Any) -> Any:
    """Append text to text and list to list, go into objects, let anything else replace; null changes nothing."""
    if new is None:
        return old
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    if isinstance(old, list) and isinstance(new, list):
        return [*cast("list[Any]", old), *cast("list[Any]", new)]
    if isinstance(old, dict) and isinstance(new, dict):
        merged = dict(cast("Json", old))
        for name, value in cast("Json", new).items():
            merged[name] = _joined(merged.get(name), value)
        return merged
    return new


def _objects(value: Any) -> list[Json]:
    if not isinstance(value, list):
        return []
    return [cast("Json", item) for item in cast("list[Any]", value) if isinstance(item, dict)]
