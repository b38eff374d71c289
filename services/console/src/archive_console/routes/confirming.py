"""What is gone for good is asked about first: by the script in place, and without one by a page of its own."""

from starlette.datastructures import FormData
from starlette.responses import Response

from archive_console.routes.visit import Visit, text

SURE = "sure"
"""The field that says that the person was asked, by the script or by the page."""


def agreed(form: FormData) -> bool:
    """Whether the person was asked, and wants it."""
    return bool(text(form, SURE))


def confirmation(visit: Visit, form: FormData, question: str, *, word: str, back: str) -> Response:
    """Ask whether a form that was sent is meant; its button sends the same form once more."""
    fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str) and name != "form"]
    address = visit.request.url
    action = f"{address.path}?{address.query}" if address.query else address.path
    return visit.page("confirm.html", question=question, word=word, back=back, fields=fields, action=action, sure=SURE)
