"""Server-sent events of HTML: each event is a part of the page, which the script puts where its id says."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

from starlette.responses import StreamingResponse

from archive_console.routes.problems import problem_of
from archive_console.routes.visit import Visit
from archive_telemetry import get_logger

log = get_logger(__name__)

PING_S = 10.0
RETRY_MS = 1000
"""When a browser whose stream broke asks again: a console that starts anew is back within a second or two."""
_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


def event(name: str, html: str) -> str:
    """Return one event."""
    lines = "".join(f"data: {line}\n" for line in html.splitlines() or [""])
    return f"event: {name}\nretry: {RETRY_MS}\n{lines}\n"


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

    failing = ""

    async def told() -> str:
        nonlocal failing
        try:
            html = await look()
        except Exception as error:  # the edge of a page: a look that fails must not end those of all others
            problem, before, failing = problem_of(error), failing, repr(error)
            # It is looked again within a second or two: what goes on failing is told once.
            if problem.code == "internal_error" and failing != before:
                log.exception("a look failed", path=visit.request.url.path)
            return visit.html("away.html", problem=problem)
        failing = ""
        return html

    shared = (key, visit.tenant, visit.session.nonce)
    async for html in visit.desk.live.watch(shared, told, every_s=every_s, ping_s=PING_S):
        if visit.desk.draining.is_set() or not visit.welcome:
            return
        yield ping() if html is None else event("fragment", html)
