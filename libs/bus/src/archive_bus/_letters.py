"""What a dead letter holds: where it was, why it was given up, and the fields as they came."""

import time
from collections.abc import Mapping
from dataclasses import fields

from archive_bus._transport import Entry, Lane
from archive_contracts.envelope import Envelope

MOST_FIELDS = 1000
"""Raw fields that are kept whatever they are: a script can hand a server about 8,000 words at once."""
_ENVELOPE = frozenset(field.name.encode() for field in fields(Envelope))


def letter_of(lane: Lane, entry: Entry, cause: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return the fields of a dead letter.

    Of an entry with more fields than a script can move, those of an envelope are kept, so that it can be replayed; the
    cause says so.
    """
    raw = entry.fields
    if len(raw) > MOST_FIELDS:
        raw = {name: value for name, value in raw.items() if name in _ENVELOPE}
        cause = {**cause, "left_out": str(len(entry.fields) - len(raw))}
    facts = {"entry": entry.id, "group": lane.group, "at": str(int(time.time() * 1000))}
    facts |= {f"cause.{name}": value for name, value in cause.items()}
    letter = {name.encode(): value.encode() for name, value in facts.items()}
    return letter | {b"raw." + name: value for name, value in raw.items()}
