"""Logging in and out."""

import secrets
import time

from starlette.responses import RedirectResponse, Response

from archive_console.domain.door import SESSION_S, Session, same_key
from archive_console.domain.errors import NotLoggedIn
from archive_console.routes.visit import Visit, text

COOKIE = "archive_session"


async def login_form(visit: Visit) -> Response:
    """Show the form."""
    return visit.page("login.html", problem=None)


async def login(visit: Visit) -> Response:
    """Let somebody in who knows the key."""
    form = await visit.form()
    door = visit.desk.door
    if not door.key or not same_key(text(form, "key", most=500), door.key):
        problem = NotLoggedIn("This key is wrong.", next_step="Use the key of GATEWAY_API_KEY.").problem
        return visit.page("login.html", 401, problem=problem)
    session = Session(tenant=door.tenant, operator=True, nonce=secrets.token_hex(16), until=time.time() + SESSION_S)
    response = RedirectResponse("/", status_code=303)
    secure = visit.request.url.scheme == "https"
    response.set_cookie(
        COOKIE, door.signer.seal(session), max_age=int(SESSION_S), httponly=True, samesite="strict", secure=secure
    )
    return response


async def logout(visit: Visit) -> Response:
    """Forget the session in this browser."""
    await visit.form()
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(COOKIE)
    return response
