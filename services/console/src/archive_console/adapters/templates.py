"""HTML from templates; every value is escaped unless it is Markup."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from archive_console.adapters.markdown import Markdown, address_of
from archive_contracts.documents import PAGELESS, DocumentInfo

NOW_S = 10.0
"""What spoke within it is there: whoever waits for work asks for it every second."""
LEFT_TO_RIGHT, RIGHT_TO_LEFT = "\u202d", "\u202e"
"""The overrides of Unicode; letters that are written from the right need none."""
_UNITS = ("B", "kB", "MB", "GB", "TB")


class Templates:
    """Renders by name."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("archive_console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        markdown = Markdown()
        filters: dict[str, Any] = {
            "markdown": markdown.html,
            "address": address_of,
            "moment": moment,
            "instant": instant,
            "size": size,
            "age": age,
            "heard": heard,
            "count": count,
        }
        tests: dict[str, Any] = {"paged": paged}
        known: dict[str, Any] = {"asset": asset}
        cast("dict[str, Any]", self._environment.filters).update(filters)
        cast("dict[str, Any]", self._environment.tests).update(tests)
        cast("dict[str, Any]", self._environment.globals).update(known)

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """Return a page or a part of one; half a character, which cannot be sent, becomes a question mark.

        What turns letters around is left out: a file called "gpj.exe" is not to be read as "exe.jpg".
        """
        page = self._environment.get_template(name).render(values).encode(errors="replace").decode()
        return page.replace(LEFT_TO_RIGHT, "").replace(RIGHT_TO_LEFT, "")


@cache
def asset(name: str) -> str:
    """Return the address of a static file; it changes with its content, so that browsers may keep it for good."""
    content = files("archive_console").joinpath("static", name).read_bytes()
    return f"/static/{hashlib.sha256(content).hexdigest()[:12]}/{name}"


def moment(seconds: float) -> Markup:
    """Return a time as an element: in UTC as it stands, in the reader's zone once the script has seen it."""
    at = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), at.strftime("%Y-%m-%d %H:%M UTC")
    )


def instant(seconds: float) -> Markup:
    """Return a time to the second, for what happens many times a minute."""
    at = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}" data-exact>{}</time>').format(
        at.isoformat(timespec="seconds"), at.strftime("%Y-%m-%d %H:%M:%S UTC")
    )


def size(amount: float) -> str:
    """Return bytes in words."""
    unit = 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount /= 1000
        unit += 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 or amount >= 100 else f"{amount:.1f} {_UNITS[unit]}"


def paged(document: DocumentInfo) -> bool:
    """Return whether a document has pages to speak of."""
    return document.pages > 0 and document.format not in PAGELESS


def age(seconds: float | None) -> str:
    """Return a duration in words."""
    if seconds is None:
        return "–"
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def heard(seconds: float | None) -> str:
    """Return how long ago something spoke, in words."""
    if seconds is None:
        return "never"
    return "now" if seconds < NOW_S else f"{age(seconds)} ago"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}".replace(",", "\u202f")
