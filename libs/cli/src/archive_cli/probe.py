"""Small questions to servers on this machine, over plain asyncio: the supervisor idles for weeks and stays small."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: status 0 when there was none."""

    status: int
    body: bytes = b""


async def get(host: str, port: int, path: str, *, timeout_s: float = 2.0) -> Answer:
    """Ask one path by HTTP/1.0; silence, refusal and nonsense are an answer with status 0."""
    request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nAccept: application/json\r\n\r\n"
    raw = await _exchange(host, port, request.encode(), timeout_s=timeout_s)
    head, _, body = raw.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return Answer(0)
    return Answer(int(words[1]), body)


async def ping(port: int, *, timeout_s: float = 2.0) -> bool:
    """Tell whether a Redis server listens; one that wants a password first is up as well."""
    raw = await _exchange("127.0.0.1", port, b"PING\r\nQUIT\r\n", timeout_s=timeout_s)
    return raw.startswith((b"+PONG", b"-NOAUTH"))


async def _exchange(host: str, port: int, request: bytes, *, timeout_s: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                return await _read(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Read until the server closes, or until it has said more than anybody asked for."""
    parts: list[bytes] = []
    size = 0
    while size < _LIMIT and (part := await reader.read(65_536)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


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
