"""One request: who asks, what was sent, and how it is answered."""

import secrets
import time
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from archive_bus import Origin
from archive_console.domain.door import SALT_DIGITS, Session
from archive_console.domain.errors import BadForm, Refused, TooLarge, TooSlow
from archive_console.routes.desk import Desk
from archive_web import BodyTooLarge, BodyTooSlow, bounded

PART_BYTES = 1 << 20
SOUGHT = 200
"""Characters of a search that count."""
LIST = "list"
"""The id of the part of a page that turning its pages, or searching, replaces."""
FRAMING = 64 * 1024
"""Bytes that boundaries and headers may add to the files of an upload."""


class Visit:
    """A request of a person who was let in."""

    def __init__(self, desk: Desk, request: Request, session: Session) -> None:
        self.desk = desk
        self.request = request
        self.session = session
        # Of one visit, not of one page: the parts that a stream sends again are compared with what they were.
        self._token = desk.door.signer.form_token(session, secrets.token_hex(SALT_DIGITS // 2))

    @property
    def tenant(self) -> str:
        """Whose page this is."""
        return self.session.tenant

    @property
    def origin(self) -> Origin:
        """Where messages of this request come from."""
        return Origin(tenant=self.tenant)

    @property
    def welcome(self) -> bool:
        """Whether who opened this page may still see it: a stream outlives the key that it was opened with."""
        locks, now = self.desk.door.locks, time.time()
        return not locks.locked or (self.session.until > now and locks.still(self.session, now=now))

    @property
    def partial(self) -> bool:
        """Whether a part of a page is wanted, not a whole one."""
        return "hx-request" in self.request.headers

    @property
    def list_only(self) -> bool:
        """Whether the list of a page is wanted, to be put in place of the one that is shown."""
        return self.partial and self.request.headers.get("hx-target") == LIST

    @property
    def sought(self) -> str:
        """What a list is searched for; nobody types more, and patterns of databases have their limits."""
        return self.word("q").strip()[:SOUGHT]

    def word(self, name: str, otherwise: str = "") -> str:
        """Return a parameter of the address."""
        return self.request.query_params.get(name, otherwise)

    def number(self, name: str, otherwise: int, *, most: int = 1_000_000) -> int:
        """Return a parameter that is a whole number from 0; what is none counts as left out."""
        given = self.word(name)
        return min(int(given), most) if given.isdecimal() and len(given) < 10 else otherwise

    def page(self, name: str, status: int = 200, /, **values: Any) -> Response:
        """Return a page."""
        return HTMLResponse(self.html(name, **values), status_code=status)

    def html(self, name: str, /, **values: Any) -> str:
        """Return what a template makes of values and of what every page needs."""
        return self.desk.templates.render(name, self._common() | values)

    def to(self, address: str) -> Response:
        """Send the person on to another page, which a reload does not send again."""
        if self.partial:
            return Response(status_code=204, headers={"hx-redirect": address})
        return RedirectResponse(address, status_code=303)

    async def form(self, *, most_files: int = 0) -> FormData:
        """Return the form that was sent, once it has proved to be ours.

        Raises:
            Refused: it is not of this session.
            BadForm: it cannot be understood.
            TooLarge: its files are over the limit.
            TooSlow: it comes in drips.
        """
        limit = (self.desk.max_upload if most_files else PART_BYTES) + FRAMING
        request = Request(self.request.scope, bounded(self.request.receive, limit=limit))
        try:
            form = await request.form(max_files=most_files, max_fields=200, max_part_size=PART_BYTES)
        except BodyTooLarge:
            raise TooLarge(
                f"This is more than the limit of {limit / 1e6:.0f} MB.",
                next_step="Send less at once, or raise CONSOLE_MAX_UPLOAD_MB.",
            ) from None
        except BodyTooSlow as error:
            raise TooSlow(error.message, next_step=error.next_step) from None
        except HTTPException as error:
            raise BadForm(f"The form cannot be read: {error.detail}", next_step="Send it again.") from None
        if not self.desk.door.signer.proves(self.session, str(form.get("form", ""))):
            raise Refused("This form is of an older session.", next_step="Load the page again, then send it again.")
        return form

    def _common(self) -> dict[str, Any]:
        return {
            "path": self.request.url.path,
            "form_token": self._token,
            "session": self.session,
            "locked": self.desk.door.locks.locked,
            "max_upload": self.desk.max_upload,
            "now": time.time(),
        }


def text(form: FormData, name: str, *, most: int = 100_000) -> str:
    """Return a field of a form without the white space around it. Raises BadForm when it is too long or a file."""
    value = form.get(name, "")
    if isinstance(value, UploadFile) or len(value) > most:
        raise BadForm(f"The field {name!r} is too long.", next_step=f"Keep it below {most} characters.")
    return value.strip()
