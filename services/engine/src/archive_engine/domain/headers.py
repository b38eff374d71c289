"""Which headers of an engine's answer are for the caller."""

from collections.abc import Iterable

MOST = 32
MOST_BYTES = 4096
_FAMILIES = ("x-", "openai-")
_OURS = ("x-request-id", "x-should-retry", "x-accel-", "x-archive-", "x-forwarded-", "openai-processing-ms")
"""What the gateway says itself, and what is meant for a proxy."""
_PAGES = ("x-powered-by", "x-frame-options", "x-content-type-options", "x-xss-protection", "x-robots-tag")
"""What says something of a server's pages and nothing of an answer."""


def kept(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the headers to be passed on, names in lower case: limits, versions, times and ids of the engine.

    At most ``MOST`` of together ``MOST_BYTES``; none that could not stand in an answer.
    """
    found: list[tuple[str, str]] = []
    size = 0
    for name, value in headers:
        lower = name.lower()
        size += len(lower) + len(value)
        if len(found) == MOST or size > MOST_BYTES:
            break
        if lower.startswith(_FAMILIES) and not lower.startswith((*_OURS, *_PAGES)) and _sendable(lower + value):
            found.append((lower, value))
    return tuple(found)


def _sendable(text: str) -> bool:
    return all(" " <= char < "\x7f" for char in text)
