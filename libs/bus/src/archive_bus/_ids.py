"""Random ids of messages."""

import os
import secrets

DIGITS = 32
AT_ONCE = 256
"""Ids drawn at a time: a look at the system's randomness costs more than the rest of an id."""

_drawn: list[str] = []
os.register_at_fork(after_in_child=_drawn.clear)


def message_id() -> str:
    """Return 128 random bits as hexadecimal digits, unlike any before and those of any other process."""
    try:
        return _drawn.pop()
    except IndexError:  # not asked before: another thread may draw the last one meanwhile
        text = secrets.token_hex(AT_ONCE * DIGITS // 2)
        drawn, *more = (text[place : place + DIGITS] for place in range(0, len(text), DIGITS))
        _drawn.extend(more)
        return drawn
