"""Keeps secrets out of logs and probe answers."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import unquote, urlsplit

REDACTED = "[redacted]"

_SECRET_KEY = re.compile(r"authorization|api[-_ ]?key|password|passwd|secret|token|cookie|credential", re.IGNORECASE)
_COUNTED_KEY = re.compile(r"token", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^\s/@'\"]+(?:@[^\s/@'\"]+)*(?=@)")
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""\b([\w-]{0,40}(?:authorization|api[-_]?key|password|passwd|secret|token)["']?\s*[=:]\s*["']?)(?!\[redacted\])"""
    r"""(?!\d+\b(?![\w.-]))([^\s"'&,;)}\]]+)""",
    re.IGNORECASE,
)
_SHORTEST_KNOWN_SECRET = 6
_DEEPEST = 8


class Redactor:
    """Replaces secrets by a mark, in any nesting of mappings and sequences.

    Three nets: the value of a key whose name speaks of a secret; patterns in text (userinfo of a URL, bearer
    credentials, `api_key=...`); and the literal values of the secrets this process was configured with, which
    also catches them inside a foreign library's exception.
    """

    def __init__(self, known: Sequence[str] = ()) -> None:
        longest_first = sorted({value for value in known if len(value) >= _SHORTEST_KNOWN_SECRET}, key=len)
        self._known = tuple(reversed(longest_first))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Redactor":
        """Know the secrets among the environment variables, passwords inside URLs included."""
        source = os.environ if env is None else env
        known: list[str] = []
        for name, value in source.items():
            if _SECRET_KEY.search(name) and not value.isdecimal():
                known.append(value)
            if "://" in value:
                known.extend(_passwords(value))
        return cls(known)

    def text(self, value: str) -> str:
        """Clean a piece of prose, a URL, a traceback."""
        for secret in self._known:
            if secret in value:
                value = value.replace(secret, REDACTED)
        if "@" in value:
            value = _USERINFO.sub(REDACTED, value)
        value = _BEARER.sub(rf"\1 {REDACTED}", value)
        return _ASSIGNED.sub(rf"\1{REDACTED}", value)

    def field(self, key: str, value: object, depth: int = 0) -> object:
        """Clean the value of one named field."""
        if value is None or isinstance(value, bool):
            return value
        match = _SECRET_KEY.search(key)
        if match is None:
            return self._value(value, depth)
        # `prompt_tokens=812` counts; only text under such a name can be a credential.
        if isinstance(value, int | float) and _COUNTED_KEY.fullmatch(match.group()):
            return value
        return REDACTED

    def _value(self, value: object, depth: int) -> object:
        match value:
            case str():
                cleaned: object = self.text(value)
            case None | bool() | int() | float():
                cleaned = value
            case bytes() | bytearray():
                cleaned = f"<{len(value)} bytes>"
            case Mapping() if depth < _DEEPEST:
                entries = cast("Mapping[object, object]", value)
                cleaned = {str(key): self.field(str(key), item, depth + 1) for key, item in entries.items()}
            case list() | tuple() | set() | frozenset() if depth < _DEEPEST:
                items = cast("Sequence[object]", value)
                cleaned = [self._value(item, depth + 1) for item in items]
            case _:
                cleaned = self.text(str(value))
        return cleaned


def _passwords(value: str) -> list[str]:
    try:
        password = urlsplit(value).password
    except ValueError:
        return []
    return [password, unquote(password)] if password else []
