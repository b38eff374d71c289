"""The rest of an answer that another engine began, told as if one engine had written all of it."""

import json
from collections.abc import Mapping
from typing import Any, cast

from archive_contracts.base import Spent
from archive_contracts.chat import Usage
from archive_contracts.engine import Resumption

Json = dict[str, Any]

_HEAD = ("id", "created", "model", "system_fingerprint")


class Rest:
    """Rewrites chunks so that they go on where the first engine stopped."""

    def __init__(self, resumption: Resumption) -> None:
        found: object = json.loads(resumption.head) if resumption.head else {}
        head = cast("Json", found) if isinstance(found, dict) else {}
        self._head = {name: head[name] for name in _HEAD if name in head}
        self._before = resumption.completion_tokens

    def rewritten(self, chunk: Mapping[str, Any]) -> str:
        """Return a chunk with the identity of the first, the role it repeats left out, and all tokens counted."""
        told = {**chunk, **{name: value for name, value in self._head.items() if name in chunk}}
        if isinstance(choices := told.get("choices"), list):
            told["choices"] = [_roleless(choice) for choice in cast("list[Any]", choices)]
        if isinstance(usage := told.get("usage"), dict):
            told["usage"] = self._whole(cast("Json", usage))
        # As ASCII: half of a character, which a server may send by itself, has no other form on the way.
        return json.dumps(told)

    def usage(self, usage: Usage) -> Usage:
        """Return the usage of the whole answer: the part that was written before went in as a prompt."""
        prompt = max(0, usage.prompt_tokens - self._before)
        completion = usage.completion_tokens + self._before
        return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)

    def spent(self, spent: Spent) -> Spent:
        """Return what the whole answer has used when its rest was cut short too."""
        # The prompt of a rest holds the part that was written before only where the engine has counted it.
        prompt = spent.prompt_tokens if spent.estimated else max(0, spent.prompt_tokens - self._before)
        completion = spent.completion_tokens + self._before
        return spent.model_copy(update={"prompt_tokens": prompt, "completion_tokens": completion})

    def _whole(self, usage: Json) -> Json:
        counts = {name: usage[name] for name in Usage.model_fields if isinstance(usage.get(name), int)}
        return {**usage, **self.usage(Usage(**counts)).model_dump()}


def _roleless(choice: object) -> object:
    if not isinstance(choice, dict):
        return choice
    known = cast("Json", choice)
    part = known.get("delta")
    if not isinstance(part, dict):
        return known
    return {**known, "delta": {name: value for name, value in cast("Json", part).items() if name != "role"}}
