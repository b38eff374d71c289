"""Time zones by the names people use."""

import difflib
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from archive_tool_runner.domain.errors import ToolFailed

_ALIASES = {
    "utc": "UTC",
    "z": "UTC",
    "gmt": "UTC",
    "cet": "Europe/Paris",
    "est": "America/New_York",
    "edt": "America/New_York",
    "cst": "America/Chicago",
    "cdt": "America/Chicago",
    "mst": "America/Denver",
    "mdt": "America/Denver",
    "pst": "America/Los_Angeles",
    "pdt": "America/Los_Angeles",
    "bst": "Europe/London",
    "ist": "Asia/Kolkata",
    "jst": "Asia/Tokyo",
    "san francisco": "America/Los_Angeles",
    "washington": "America/New_York",
    "beijing": "Asia/Shanghai",
    "delhi": "Asia/Kolkata",
    "mumbai": "Asia/Kolkata",
}


def find_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name, a city that has one, or a common abbreviation, in any case.

    Raises:
        ToolFailed: nothing has that name; the message offers the nearest names.
    """
    key = " ".join(name.replace("_", " ").split()).lower()
    known = _by_name()
    found = _ALIASES.get(key) or known.get(key)
    if found is None:
        near = [known[match] for match in difflib.get_close_matches(key, known, n=3, cutoff=0.6)]
        hint = f"Did you mean {' or '.join(near)}?" if near else "Use a name such as Europe/Berlin or UTC."
        raise ToolFailed(f"There is no time zone named {name[:60]!r}.", next_step=hint)
    return ZoneInfo(found)


@cache
def _by_name() -> dict[str, str]:
    """Lower-case full names and cities. Only names listed here are ever opened as files."""
    names = sorted(available_timezones())
    cities = {name.rpartition("/")[2]: name for name in names if name.count("/") and not name.startswith("Etc/")}
    return {key.replace("_", " ").lower(): name for key, name in (cities | {name: name for name in names}).items()}
