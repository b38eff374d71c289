"""Server-sent events of HTML: each event is a part of the page, which the script puts where its id says."""

from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

PING_S = 10.0
_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


def event(name: str, html: str) -> str:
    """Return one event."""
    lines = "".join(f"data: {line}\n" for line in html.splitlines() or [""])
    return f"event: {name}\n{lines}\n"


def ping() -> str:
    """Return a comment, which keeps proxies patient and notices readers who left."""
    return ": ping\n\n"


def streamed(events: AsyncIterator[str]) -> StreamingResponse:
    """Answer with events as they come."""
    return StreamingResponse(events, media_type="text/event-stream", headers=_HEADERS)
