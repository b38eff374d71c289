"""Which part of a file is asked for, and whether the asker has it already (RFC 9110, sections 13 and 14)."""

import re

_ONE = re.compile(r"bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?"[^"]*"')


def known(header: str, tag: str) -> bool:
    """Whether ``If-None-Match`` names this entity tag, compared weakly: packing on the way weakens tags."""
    if header.strip() == "*":
        return True
    return tag.removeprefix("W/") in {found.removeprefix("W/") for found in _TAG.findall(header)}


def part(header: str, condition: str, tag: str, *, size: int) -> tuple[int, int] | None:
    """Return (first, end) of the bytes to send, ``end`` not included, of a file of ``size`` bytes.

    ``header`` is ``Range``, ``condition`` is ``If-Range``. None: all of it. A range that cannot be read, or more than
    one, counts as none, as the standard lets a server do. Equal numbers say that the range begins behind the end.
    """
    found = _ONE.fullmatch(header.strip())
    if found is None or (condition and condition.strip() != tag):
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        return (size, size) if int(last) == 0 else (max(0, size - int(last)), size)
    begin, end = int(first), min(size, int(last) + 1) if last else size
    if last and int(last) < begin:
        return None
    return (size, size) if begin >= size else (begin, end)
