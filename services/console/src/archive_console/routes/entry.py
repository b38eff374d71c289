"""The ASGI application: the door that every request comes through, and that every error leaves by."""

import asyncio
import time
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse
from starlette.types import Message, Receive, Scope, Send

from archive_bus import BusError
from archive_console.domain.door import ANYBODY, Session, check_names, landing
from archive_console.domain.errors import Away, NotLoggedIn, Refused
from archive_console.routes.desk import Desk
from archive_console.routes.problems import problem_of
from archive_console.routes.session import COOKIE, WHICH
from archive_console.routes.table import OPEN, OPERATORS, SESSION, build_router
from archive_console.routes.visit import Visit
from archive_telemetry import get_logger

log = get_logger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    # Stricter, and browsers would send the Origin of our own forms as "null".
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Entry:
    """Lets people in, or says why not; what goes wrong becomes a page that says what to do."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._router = build_router(desk)
        # Everybody on this machine shares one session while there is no key; its forms outlive a restart.
        self._everybody = Session(tenant=desk.door.tenant, operator=True, nonce="everybody", until=2**53, key=ANYBODY)
        self._nobody = Session(tenant="", operator=False, nonce="nobody", until=2**53)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        scope["path"] = scope["path"].rstrip("/") or "/"
        reply = _Reply(send)
        scope[SESSION] = self._nobody
        # With an application in the scope, the router raises what it does not find; else it would answer by itself.
        scope["app"] = self
        try:
            self._admit(scope)
            await self._router(scope, receive, reply)
        except asyncio.CancelledError:
            # What outlasts the grace of a server that ends is cancelled; the person hears of it all the same.
            if not reply.started:
                gone = Away("The page's service ended before it had an answer.", next_step="Load the page again.")
                await self._refuse(gone, scope, receive, reply)
            raise
        except ClientDisconnect:
            # A file that is cancelled, or a tab that is closed while it sends: nobody is left to be told.
            log.info("left while sending", path=scope["path"])
        except Exception as error:  # the edge of the process: whatever it is, the person gets a page
            if not reply.started:
                await self._refuse(error, scope, receive, reply)
            elif not isinstance(error, BusError):
                log.warning("a page broke off", path=scope["path"], exc_info=error)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        door, path = self._desk.door, scope["path"]
        origin = headers.get("origin") if scope["method"] != "GET" else None
        locked = door.locks.locked
        check_names(headers.get("host"), origin, open_door=not locked and path not in {"/livez", "/readyz"})
        if not locked:
            scope[SESSION] = self._everybody
            return
        cookie, now = Request(scope).cookies.get(COOKIE, ""), time.time()
        session = door.signer.open(cookie, now=now) if cookie else None
        session = session if session and door.locks.still(session, now=now) else None
        if session is None and not path.startswith(OPEN):
            raise NotLoggedIn("Please log in.", next_step=WHICH)
        scope[SESSION] = session or self._nobody
        if path.startswith(OPERATORS) and not scope[SESSION].operator:
            raise Refused("This page is for operators.", next_step="Log in with a key of the scope 'operator'.")

    async def _refuse(self, error: Exception, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        problem = problem_of(error)
        if problem.status >= 500:
            trace = error if problem.code == "internal_error" else None
            log.error("page failed", exc_info=trace, code=problem.code, error=problem.message, path=scope["path"])
        request = Request(scope, receive)
        visit = Visit(self._desk, request, scope[SESSION])
        if isinstance(error, NotLoggedIn) and scope["method"] == "GET" and not visit.partial:
            await RedirectResponse(_login(str(request.url)), status_code=303)(scope, receive, reply)
            return
        name = "notice.html" if visit.partial else "error.html"
        response = visit.page(name, problem.status, problem=problem, login=_login(request.headers.get("referer", "")))
        if visit.partial:
            response.headers["hx-retarget"] = "#notice"
            response.headers["hx-reswap"] = "innerHTML"
            response.headers["hx-push-url"] = "false"
        if problem.retry_after_s is not None:
            response.headers["retry-after"] = str(int(problem.retry_after_s + 0.5))
        await response(scope, receive, reply)


def _login(address: str) -> str:
    """Return the address of the form that leads back to a page."""
    try:
        parts = urlsplit(address)
    except ValueError:  # as of "http://[::1"
        return "/login"
    page = landing(f"{parts.path}?{parts.query}" if parts.query else parts.path)
    return f"/login?{urlencode({'next': page})}" if page != "/" else "/login"


class _Reply:
    """The way out: adds what every answer carries, and knows whether one began."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(raw=message["headers"])
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
            if headers.get("content-type", "").startswith("text/html"):
                # The same address gives a whole page, or the part of it that a script asks for.
                headers.add_vary_header("HX-Request, HX-Target")
        await self._send(message)
