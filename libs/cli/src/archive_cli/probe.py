"""Small questions to servers on this machine: whether they live, and what they complain about."""

import json
from collections.abc import Sequence
from typing import Any

from archive_finding import Answer, exchange, get

__all__ = ["Answer", "failing_checks", "get", "ping"]


async def ping(port: int, *, timeout_s: float = 2.0) -> bool:
    """Tell whether a Redis server listens; one that wants a password first is up as well."""
    raw = await exchange("127.0.0.1", port, b"PING\r\nQUIT\r\n", timeout_s=timeout_s)
    return raw.startswith((b"+PONG", b"-NOAUTH"))


def failing_checks(body: bytes) -> Sequence[str]:
    """Return what a `/readyz` answer complains about, one string a check."""
    try:
        told: Any = json.loads(body)
        return [
            f"{check}: {reason}"
            for checks in told["services"].values()
            for check, reason in checks.items()
            if reason is not None
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
