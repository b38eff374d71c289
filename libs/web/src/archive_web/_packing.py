"""Pages, styles and scripts by gzip, where nothing secret can be read off their size."""

import gzip

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KINDS = frozenset({"text/html", "text/css", "text/javascript", "image/svg+xml", "application/json"})
LEAST_BYTES = 700
"""Below it a packet carries the whole either way."""
LEVEL = 6
OTHERS = frozenset({"cross-site", "same-site"})
"""Values of ``Sec-Fetch-Site`` for a request that a page of somebody else made the browser send."""


class Packed:
    """Packs whole answers of the kinds above for clients that take gzip; whatever is streamed passes as it comes.

    The size of a packed page tells how much of it repeats. Who can make a browser ask for pages that repeat his words,
    and see their sizes on the line, guesses a secret of the page that way (BREACH). Browsers say whose page sent a
    request: one of another site is never answered packed. What a page must keep even from browsers that do not say so,
    the proof that a form is ours, has to differ with every answer; that is the application's part.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            foreign = headers.get("sec-fetch-site", "").strip().lower() in OTHERS
            wanted = not foreign and takes_gzip(headers.get("accept-encoding", ""))
            send = _Packing(send, wanted=wanted)
        await self._app(scope, receive, send)


class _Packing:
    """Holds the head of an answer back until its body tells whether there is more to come."""

    def __init__(self, send: Send, *, wanted: bool) -> None:
        self._send = send
        self._wanted = wanted
        self._head: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _packable(message):
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                message = self._packed(head, message)
            await self._send(head)
        await self._send(message)

    def _packed(self, head: Message, message: Message) -> Message:
        headers, body = MutableHeaders(raw=head["headers"]), message.get("body", b"")
        headers.add_vary_header("Accept-Encoding")
        headers.add_vary_header("Sec-Fetch-Site")
        if not self._wanted or len(body) < LEAST_BYTES:
            return message
        # A fixed time of packing: the same page is the same bytes.
        body = gzip.compress(body, LEVEL, mtime=0)
        headers["content-encoding"] = "gzip"
        headers["content-length"] = str(len(body))
        if (tag := headers.get("etag", "")).startswith('"'):
            headers["etag"] = f"W/{tag}"
        return {**message, "body": body}


def _packable(head: Message) -> bool:
    headers = Headers(raw=head["headers"])
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    whole = head["status"] not in {204, 206, 304}
    return whole and kind in KINDS and "content-encoding" not in headers


def takes_gzip(accepted: str) -> bool:
    """Whether a client that sent this ``Accept-Encoding`` takes gzip; of rules for it the first counts."""
    for rule in accepted.lower().split(","):
        name, *parameters = (part.strip() for part in rule.split(";"))
        if name in {"gzip", "x-gzip", "*"}:
            weight = next((value[2:] for value in parameters if value.startswith("q=")), "1")
            return _above_zero(weight)
    return False


def _above_zero(weight: str) -> bool:
    try:
        return float(weight) > 0
    except ValueError:
        return False
