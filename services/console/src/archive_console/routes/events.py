"""Server-sent events of HTML: each event is a part of the page, which the script puts where its id says."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

from starlette.responses import StreamingResponse

from archive_bus import BusError
from archive_console.domain.errors import ConsoleError
from archive_console.routes.visit import Visit

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


async def watched(
    visit: Visit, key: Hashable, look: Callable[[], Awaitable[str]], *, every_s: float
) -> AsyncIterator[str]:
    """Yield what ``look`` returns whenever it changes, looking once for all pages of a session with this key.

    Forms in what is sent carry the token of the session, so sessions do not share it.
    """

    async def told() -> str:
        try:
            return await look()
        except BusError as error:
            return visit.html("away.html", problem=error.problem())
        except ConsoleError as error:
            return visit.html("away.html", problem=error.problem)

    shared = (key, visit.tenant, visit.session.nonce)
    async for html in visit.desk.live.watch(shared, told, every_s=every_s, ping_s=PING_S):
        if visit.desk.draining.is_set():
            return
        yield ping() if html is None else event("fragment", html)
