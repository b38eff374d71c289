"""Where a person says that a model server is."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
NAMES = {11434: "ollama", 1234: "lm-studio", 8000: "vllm", 8081: "llama-cpp"}


class BadPlace(ValueError):
    """It is no http(s) address, or carries a password."""


@dataclass(frozen=True, slots=True)
class Place:
    """An OpenAI-compatible server: ``base_url`` ends in ``/v1``, ``name`` is what to call it."""

    base_url: str
    name: str


def place_of(typed: str) -> Place:
    """Return the address that somebody typed, with or without its scheme and ``/v1``, and a name made from it.

    Raises:
        BadPlace: it is no http(s) address, or carries a password.
    """
    try:
        parsed = urlsplit(typed if "://" in typed else f"http://{typed}")
        port = parsed.port
    except ValueError as error:
        raise BadPlace(str(error)) from error
    if parsed.scheme not in {"http", "https"} or not parsed.hostname:
        raise BadPlace("it has no host, or another scheme than http and https")
    if parsed.username or parsed.password:
        raise BadPlace("it carries a password, which would be shown to whoever sees the engines")
    path = parsed.path.rstrip("/")
    base_url = f"{parsed.scheme}://{parsed.netloc}{path if path.endswith('/v1') else path + '/v1'}"
    return Place(base_url, _name(parsed.hostname, port))


def _name(host: str, port: int | None) -> str:
    if host in LOOPBACK and port in NAMES:
        return NAMES[port]
    return re.sub(r"[^a-z0-9]+", "-", f"{host}-{port or ''}".lower()).strip("-")[:40].strip("-") or "engine"
