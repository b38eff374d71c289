"""Small questions to servers on this machine, over plain asyncio: whoever asks may idle for weeks, and stays small."""

import asyncio
from dataclasses import dataclass

_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: status 0 when there was none."""

    status: int
    body: bytes = b""


async def get(host: str, port: int, path: str, *, timeout_s: float = 2.0) -> Answer:
    """Ask one path by HTTP/1.0; silence, refusal and nonsense are an answer with status 0."""
    request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nAccept: application/json\r\n\r\n"
    raw = await exchange(host, port, request.encode(), timeout_s=timeout_s)
    head, _, body = raw.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return Answer(0)
    return Answer(int(words[1]), body)


async def exchange(host: str, port: int, request: bytes, *, timeout_s: float) -> bytes:
    """Send bytes and return what comes until the server closes; nothing when it is silent or away."""
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
