"""Logging in and out."""

import secrets
import time

from starlette.responses import RedirectResponse, Response

from archive_console.domain.door import landing
from archive_console.domain.errors import NotLoggedIn
from archive_console.routes.visit import Visit, text

COOKIE = "archive_session"
WHICH = "Use the operator's own key, or one of 'archive keys create' with the scope 'platform'."


async def login_form(visit: Visit) -> Response:
    """Show the form."""
    return visit.page("login.html", problem=None, next=landing(visit.word("next")))


async def login(visit: Visit) -> Response:
    """Let somebody in who knows the key."""
    form = await visit.form()
    door = visit.desk.door
    session = door.locks.enter(text(form, "key", most=500), now=time.time(), nonce=secrets.token_hex(16))
    if session is None:
        problem = NotLoggedIn("This key is wrong, or no longer valid.", next_step=WHICH).problem
        return visit.page("login.html", 401, problem=problem, next=landing(text(form, "next", most=2000)))
    # What the first page shows is there by the time it is asked for.
    visit.desk.shelves.seen(session.tenant)
    response = RedirectResponse(landing(text(form, "next", most=2000)), status_code=303)
    # Behind a proxy that speaks TLS the console sees plain HTTP; the browser says how it came.
    secure = visit.request.url.scheme == "https" or visit.request.headers.get("origin", "").startswith("https://")
    cookie, life = door.signer.seal(session), int(session.until - time.time())
    response.set_cookie(COOKIE, cookie, max_age=life, httponly=True, samesite="strict", secure=secure)
    return response


async def logout(visit: Visit) -> Response:
    """Forget the session in this browser."""
    await visit.form()
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(COOKIE)
    return response
